// The page from its start: what is loaded, which view is shown.
import { about, begin, chosen, make, model } from "./common.js";
import * as camera from "./camera.js";
import * as compare from "./compare.js";
import * as game from "./game.js";
import * as picture from "./picture.js";
import * as video from "./video.js";

const views = { picture, camera, video, compare, game };

function show() {
  const name = location.hash.slice(1) in views ? location.hash.slice(1) : "picture";
  for (const [other, view] of Object.entries(views)) {
    const section = document.getElementById(other);
    if (other !== name && !section.hidden) view.leave?.();
    section.hidden = other !== name;
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.getElementById("about").hidden = name === "compare" || name === "game";
  document.getElementById("choice").hidden = about.models.length < 2 || name === "compare";
  views[name].enter?.();
}

function told() {
  const { name, network, classes, dataset } = model();
  const parts = [network, `${classes.length} classes`, dataset ? `trained on ${dataset}` : "", about.models.length > 1 ? "" : name];
  document.getElementById("about").textContent = parts.filter(Boolean).join(" · ");
  document.getElementById("drawn").hidden = !model().drawn;
}

try {
  await begin();
  const select = document.getElementById("model");
  select.append(...about.models.map((one, index) => make("option", { value: index + 1 }, `${index + 1}: ${one.name}`)));
  document.getElementById("private").textContent =
    `Pictures go to the program at ${location.host} alone, which keeps none and sends none on.`;
  for (const view of Object.values(views)) view.prepare();
  select.addEventListener("change", () => {
    told();
    for (const view of Object.values(views)) view.changed?.(chosen());
  });
  told();
  addEventListener("hashchange", show);
  show();
} catch (error) {
  document.getElementById("about").textContent = `The server does not answer: ${error.message}`;
}
