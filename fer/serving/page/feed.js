// The camera: its picture goes to the server again and again, each when the answer to the one before is there.
import { chosen, predict } from "./common.js";

const SIDE = 400; // pixels of the longer side that is sent

const reasons = {
  NotAllowedError: "the browser was not allowed to use the camera",
  NotFoundError: "no camera was found",
  NotReadableError: "the camera cannot be used; another program may be using it",
};

export class Feed {
  /** Answers hold an explanation while .explain is true. onAnswer(answer, seconds since the one before); onEnd(message) when it ends by itself. */
  constructor(video, onAnswer, onEnd) {
    Object.assign(this, { video, onAnswer, onEnd, running: false, explain: false });
    this.canvas = document.createElement("canvas");
  }

  async start() {
    if (!navigator.mediaDevices) {
      throw new Error("browsers give the camera to pages of this machine (http://127.0.0.1) or to https alone");
    }
    const mine = (this.turn = {});
    let stream;
    try {
      const wanted = { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } };
      stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    } catch (error) {
      throw new Error(reasons[error.name] ?? error.message);
    }
    if (mine !== this.turn) { // stopped while the browser asked
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    this.stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => this.end("the camera went away"));
    this.video.srcObject = stream;
    await this.video.play();
    if (mine !== this.turn) { // or while the picture came
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    this.running = true;
    this.loop(mine);
  }

  async loop(mine) {
    let before = performance.now();
    let failures = 0;
    while (this.running && mine === this.turn) {
      try {
        const asked = chosen();
        const answer = await predict(await this.grab(), { explain: this.explain });
        failures = 0;
        const now = performance.now();
        if (this.running && mine === this.turn && asked === chosen()) this.onAnswer(answer, (now - before) / 1000);
        before = now;
      } catch (error) {
        failures += 1;
        if (mine === this.turn && (error.status !== 503 || failures > 20)) this.end(error.message);
        else await new Promise((done) => setTimeout(done, 250));
      }
      await new Promise((done) => setTimeout(done, document.hidden ? 500 : 15)); // the page stays alive
    }
  }

  async grab() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(1, SIDE / Math.max(width, height));
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    return new Promise((done) => this.canvas.toBlob(done, "image/jpeg", 0.9));
  }

  end(message) {
    const was = this.running;
    this.stop();
    if (was) this.onEnd(message);
  }

  stop() {
    this.turn = undefined;
    this.running = false;
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = undefined;
    this.video.srcObject = null;
  }
}
