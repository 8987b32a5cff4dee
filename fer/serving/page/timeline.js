// Probabilities over time as stacked areas.
import { colour } from "./common.js";

const GAP = 0.7; // seconds without a face after which the area is broken

/** Draw points {time, probabilities} between two times; without probabilities there is a gap. */
export function stacked(canvas, points, from, to, of, mark) {
  const sharp = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  const draw = canvas.getContext("2d");
  draw.setTransform(sharp, 0, 0, sharp, 0, 0);
  const x = (time) => ((time - from) / Math.max(to - from, 1e-6)) * width;
  for (const piece of pieces(points)) {
    let base = piece.map(() => 0);
    for (const name of of.classes) {
      const upper = piece.map((point, index) => base[index] + point.probabilities[name]);
      draw.beginPath();
      piece.forEach((point, index) => draw.lineTo(x(point.time), height * (1 - upper[index])));
      if (piece.length === 1) draw.lineTo(x(piece[0].time) + 2, height * (1 - upper[0]));
      if (piece.length === 1) draw.lineTo(x(piece[0].time) + 2, height * (1 - base[0]));
      for (let index = piece.length - 1; index >= 0; index -= 1) draw.lineTo(x(piece[index].time), height * (1 - base[index]));
      draw.closePath();
      draw.fillStyle = colour(name, of);
      draw.fill();
      base = upper;
    }
  }
  if (mark !== undefined) {
    for (const [ink, wide] of [["#fff", 4], ["#000", 2]]) {
      draw.fillStyle = ink;
      draw.fillRect(x(mark) - wide / 2, 0, wide, height);
    }
  }
}

function pieces(points) {
  const found = [];
  let piece = [];
  for (const point of points) {
    const apart = piece.length && point.time - piece[piece.length - 1].time > GAP;
    if ((!point.probabilities || apart) && piece.length) {
      found.push(piece);
      piece = [];
    }
    if (point.probabilities) piece.push(point);
  }
  return piece.length ? [...found, piece] : found;
}
