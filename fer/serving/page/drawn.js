// A drawn face for each emotion: the game's hint for those who do not read, and its prizes.

const LINE = { fill: "none", stroke: "#3a2a00", "stroke-width": 5, "stroke-linecap": "round", "stroke-linejoin": "round" };
const DARK = { fill: "#3a2a00" };

// Brows (left; the right one is its mirror image), eyes' height, mouth: paths on a field of 100 by 100.
const FACES = {
  happy: { brow: "M24 34q8 -6 16 0", eye: 7, mouth: ["M28 60q22 28 44 0z", DARK] },
  sad: { brow: "M24 38q8 -5 16 -8", eye: 6, mouth: ["M32 74q18 -16 36 0", LINE], tear: true },
  angry: { brow: "M22 28l19 9", eye: 6, mouth: ["M32 72q18 -10 36 0", LINE], colour: "#ff9b7a" },
  surprise: { brow: "M23 25q9 -8 18 -1", eye: 10, mouth: ["M50 58a10 13 0 1 0 .1 0z", DARK] },
  fear: { brow: "M24 31q8 -3 16 -8", eye: 10, mouth: ["M32 74q4 -12 18 -12t18 12q-18 -6 -36 0z", DARK], colour: "#d9d2ff" },
  disgust: { brow: "M22 33q10 -2 19 4", eye: 4, mouth: ["M30 70q10 -12 20 -6t20 -4", LINE], nose: true, colour: "#cfe38a" },
  neutral: { brow: "M24 34h16", eye: 7, mouth: ["M33 69h34", LINE] },
  contempt: { brow: "M24 33h16", eye: 5, mouth: ["M33 70q20 2 33 -9", LINE] },
};

function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** The face of an emotion; undefined for classes that have none. */
export function drawnFace(emotion) {
  const face = FACES[emotion];
  if (!face) return undefined;
  const svg = shape("svg", { viewBox: "0 0 100 100", "aria-hidden": "true" });
  const brow = () => shape("path", { d: face.brow, ...LINE });
  const right = shape("g", { transform: "translate(100 0) scale(-1 1)" });
  right.append(brow());
  svg.append(
    shape("circle", { cx: 50, cy: 50, r: 47, fill: face.colour ?? "#ffd54a", stroke: "#3a2a00", "stroke-width": 3 }),
    brow(), right,
    shape("ellipse", { cx: 33, cy: 46, rx: 5.5, ry: face.eye, ...DARK }),
    shape("ellipse", { cx: 67, cy: 46, rx: 5.5, ry: face.eye, ...DARK }),
    shape("path", { d: face.mouth[0], ...face.mouth[1] }),
  );
  if (face.nose) svg.append(shape("path", { d: "M44 54l6 -4l6 4", ...LINE, "stroke-width": 3.5 }));
  if (face.tear) svg.append(shape("path", { d: "M33 56q-7 11 0 13q7 -2 0 -13z", fill: "#4aa3ff" }));
  return svg;
}
