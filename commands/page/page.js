"use strict";

const get = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let facts; // what there is to show, see Answers.facts

// Asking

async function ask(path, question) {
  const label = get("class").value || undefined; // which JSON leaves out
  const options = question && { method: "POST", body: JSON.stringify({ ...question, label }) };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("There is no answer. Does the program still run in its terminal?");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// Runs a task of a section, and says so if it takes long or fails.
async function busy(section, task) {
  const status = get(section).querySelector(".status");
  const timer = setTimeout(() => say("Computing"), 300);
  const say = (text, wrong) => {
    status.textContent = text;
    status.classList.toggle("wrong", Boolean(wrong));
  };
  try {
    await task();
    say("");
  } catch (error) {
    say(error.message, true);
  } finally {
    clearTimeout(timer);
  }
}

// A function that runs the task, or, while it runs, once more afterwards: of many moves
// of a slider the newest one counts.
function newest(task) {
  let running = null;
  let again = false;
  const run = async () => {
    do {
      again = false;
      await task();
    } while (again);
    running = null;
  };
  return () => {
    again = true;
    running = running ?? run();
    return running;
  };
}

// Showing

const number = (value, digits = 5) =>
  value.toLocaleString("en-US", { maximumSignificantDigits: digits }).replace("-", "−");

const energyText = (value) =>
  value === null ? "" : number(value, Math.max(Math.trunc(Math.abs(value)).toString().length, 4));

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function figure(image, alt, ...lines) {
  const caption = element("figcaption");
  lines.forEach((line, place) => caption.append(...(place ? [element("br")] : []), line));
  return element("figure", {}, element("img", { src: image, alt }), caption);
}

const seedOf = (field) => Math.min(Math.max(Math.trunc(field.valueAsNumber) || 0, 0), 2 ** 31 - 1);
const anySeed = () => Math.floor(Math.random() * 1e6);

function onSeed(field, button, task) {
  get(field).addEventListener("change", task);
  get(button).addEventListener("click", () => {
    get(field).value = anySeed();
    task();
  });
}

// Samples

const chain = new Map(); // answers by the number of steps, of one seed and class
let chainOf = null;

async function samplesAfter(steps) {
  const seed = seedOf(get("seed"));
  const asked = `${seed} ${get("class").value}`;
  if (asked !== chainOf) {
    chain.clear();
    chainOf = asked;
  }
  if (!chain.has(steps)) {
    const answer = await ask("samples", { seed, steps });
    if (asked !== chainOf) return answer;
    chain.set(steps, answer);
  }
  return chain.get(steps);
}

const stepsText = (steps) =>
  steps === facts.steps ? `${steps}, as in training` : `${steps} of ${facts.most_steps}`;

const showSamples = newest(() =>
  busy("samples", async () => {
    const steps = get("steps").valueAsNumber;
    get("steps-text").value = stepsText(steps);
    const before = await samplesAfter(0);
    const after = facts.steps ? await samplesAfter(steps) : before;
    const cards = after.images.map((image, place) => {
      const energy = energyText(after.energies[place]);
      const alt = `Sample ${place + 1}` + (energy && ` after ${steps} steps, energy ${energy}`);
      const shown = [figure(image, alt, ...(energy && [`step ${steps}`, energy]))];
      if (facts.steps) {
        const first = energyText(before.energies[place]);
        const start = `its start, energy ${first}`;
        shown.unshift(figure(before.images[place], start, "step 0", first));
      }
      const button = element("button", { type: "button", className: "two" }, ...shown);
      button.addEventListener("click", () => take(image, after.energies[place]));
      return element("li", {}, button);
    });
    // In place of the old ones, and the focus stays on its card.
    const list = get("cards");
    const focused = [...list.children].indexOf(document.activeElement?.closest("li"));
    list.replaceChildren(...cards);
    if (focused >= 0) cards[focused].firstChild.focus({ preventScroll: true });
  }),
);

let playing = false;

async function play() {
  playing = !playing;
  get("play").textContent = playing ? "Stop" : "Play";
  const slider = get("steps");
  if (playing && slider.valueAsNumber === facts.most_steps) slider.value = 0;
  while (playing) {
    await showSamples();
    await new Promise((wake) => setTimeout(wake, 120));
    if (slider.valueAsNumber >= facts.most_steps) break;
    if (playing) slider.stepUp();
  }
  playing = false;
  get("play").textContent = "Play";
}

function startSamples() {
  const start = facts.nets.includes("generator")
    ? "the generator's draft"
    : "where the descriptor's chain starts";
  get("samples-about").textContent = facts.steps
    ? `Left: ${start}. Right: what the descriptor makes of it by Langevin steps. Below: ` +
      "the energy, −log p up to a constant; the lower, the likelier to the descriptor."
    : facts.nets.includes("descriptor")
      ? "This run takes no Langevin steps on images."
      : "The generator's images. This run has no descriptor: no Langevin steps, no energies.";
  for (const controls of document.querySelectorAll(".needs-descriptor"))
    controls.hidden = !facts.steps;
  get("cards").classList.toggle("large", facts.width > 100);
  get("steps").max = facts.most_steps;
  get("steps").value = facts.steps;
  get("steps").addEventListener("input", showSamples);
  get("play").addEventListener("click", play);
  onSeed("seed", "other", showSamples);
  return showSamples();
}

// Latents

const showMap = newest(() =>
  busy("walk", async () => {
    const answer = await ask("map", { seed: seedOf(get("corners")) });
    get("map").src = answer.image;
    get("map").alt = `${facts.cells ** 2} images between four, which are at the corners`;
    await walk();
  }),
);

const walk = newest(() =>
  busy("walk", async () => {
    const [down, across] = [get("down").valueAsNumber, get("across").valueAsNumber];
    for (const [side, part] of [["top", down], ["left", across]])
      get("dot").style[side] = `${100 * inMap(part)}%`;
    const answer = await ask("walk", { seed: seedOf(get("corners")), down, across });
    const names = [facts.steps ? "draft" : "image", `after ${facts.steps} steps`];
    const figures = answer.images.map((image, place) => {
      const energy = energyText(answer.energies[place]);
      const alt = `Between the latents, ${names[place]}` + (energy && `, energy ${energy}`);
      return figure(image, alt, names[place], ...(energy && [energy]));
    });
    get("walked").replaceChildren(...figures);
  }),
);

// The middle of the first image is 0, and of the last one 1.
const inMap = (part) => (0.5 + part * (facts.cells - 1)) / facts.cells;

function walkTo(event) {
  const area = get("pad").getBoundingClientRect();
  const part = (place, length) =>
    Math.min(Math.max((place / length - inMap(0)) / (inMap(1) - inMap(0)), 0), 1);
  get("across").value = part(event.clientX - area.left, area.width);
  get("down").value = part(event.clientY - area.top, area.height);
  walk();
}

async function startWalk() {
  const possible = facts.nets.includes("generator");
  get("walk-about").textContent = possible
    ? "The generator's images on a square whose corners are four random latents. Move over the map."
    : "This run has no generator, and so no latents to walk between.";
  get("walk").querySelector(".needs-generator").hidden = !possible;
  if (!possible) return;
  get("pad").addEventListener("pointerdown", (event) => {
    get("pad").setPointerCapture(event.pointerId);
    walkTo(event);
  });
  get("pad").addEventListener("pointermove", (event) => {
    if (event.buttons) walkTo(event);
  });
  for (const side of ["across", "down"]) get(side).addEventListener("input", walk);
  onSeed("corners", "other-corners", showMap);
  await showMap();
}

// Recovery

const HIDDEN = "#e8590c";
const canvas = get("canvas");
let own = null; // the image as a data URL, which goes back as it came
let picture = null; // the same, decoded
let hidden = new Uint8Array(0); // 1 for each hidden pixel, row by row
let last = null; // where the brush was, in pixels
let cursor = null; // of the keyboard
let fillSeed = 0;

async function take(image, energy) {
  const decoded = new Image();
  decoded.src = image;
  await decoded.decode();
  [own, picture] = [image, decoded];
  get("fills").replaceChildren();
  const text = energyText(energy);
  get("recovery-about").textContent =
    `What is painted is hidden from the nets, which fill it. ${facts.recovery}` +
    (text && ` The energy of the image as it is: ${text}.`);
  draw();
}

function draw() {
  const scale = canvas.width / facts.width;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#808080";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.fillStyle = HIDDEN;
  hidden.forEach((one, place) => {
    const [x, y] = [place % facts.width, Math.floor(place / facts.width)];
    if (one) context.fillRect(x * scale, y * scale, scale, scale);
  });
  if (cursor && document.activeElement === canvas) {
    const radius = Math.max(get("brush").valueAsNumber / 2, 0.5) * scale;
    for (const [colour, width] of [["#000000", 5], ["#ffffff", 2]]) {
      context.beginPath();
      context.arc(cursor[0] * scale, cursor[1] * scale, radius, 0, 2 * Math.PI);
      [context.strokeStyle, context.lineWidth] = [colour, width];
      context.stroke();
    }
  }
  const count = hidden.reduce((sum, one) => sum + one, 0);
  canvas.setAttribute("aria-label", `The image, ${count} of ${hidden.length} pixels hidden`);
}

// Paints a disc, at least the pixel in its middle.
function paint(x, y) {
  const radius = get("brush").valueAsNumber / 2;
  const value = get("erase").ariaPressed === "true" ? 0 : 1;
  for (let row = 0; row < facts.height; row++) {
    for (let column = 0; column < facts.width; column++) {
      const within = Math.hypot(column + 0.5 - x, row + 0.5 - y) <= radius;
      const middle = column === Math.floor(x) && row === Math.floor(y);
      if (within || middle) hidden[row * facts.width + column] = value;
    }
  }
}

function stroke(event) {
  const area = canvas.getBoundingClientRect();
  const x = ((event.clientX - area.left) / area.width) * facts.width;
  const y = ((event.clientY - area.top) / area.height) * facts.height;
  const [fromX, fromY] = last ?? [x, y];
  const parts = Math.max(Math.ceil(2 * Math.hypot(x - fromX, y - fromY)), 1);
  for (let part = 1; part <= parts; part++)
    paint(fromX + ((x - fromX) * part) / parts, fromY + ((y - fromY) * part) / parts);
  [last, cursor] = [[x, y], null];
  draw();
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function byKey(event) {
  cursor ??= [Math.floor(facts.width / 2) + 0.5, Math.floor(facts.height / 2) + 0.5];
  if (event.key === " ") {
    paint(...cursor);
  } else if (event.key in ARROWS) {
    const [x, y] = ARROWS[event.key];
    cursor[0] = Math.min(Math.max(cursor[0] + x, 0.5), facts.width - 0.5);
    cursor[1] = Math.min(Math.max(cursor[1] + y, 0.5), facts.height - 0.5);
  } else {
    return;
  }
  event.preventDefault();
  draw();
}

function hideMiddle() {
  const half = (place, length) => place >= length / 4 && place < (3 * length) / 4;
  hidden = hidden.map((_, place) => {
    const [x, y] = [place % facts.width, Math.floor(place / facts.width)];
    return Number(half(x, facts.width) && half(y, facts.height));
  });
  draw();
}

function readFile(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(file);
  });
}

const takeFile = () =>
  busy("recovery", async () => {
    const [file] = get("file").files;
    if (!file) return;
    if (file.size > facts.most_bytes)
      throw new Error(`The file may have ${number(facts.most_bytes / 1e6)} MB at most.`);
    const image = await readFile(file);
    const answer = await ask("own", { image, inverted: get("inverted").checked });
    await take(answer.images[0], answer.energies[0]);
  });

const recover = newest(() =>
  busy("recovery", async () => {
    const question = { image: own, hidden: hidden.join(""), seed: fillSeed++ };
    const answer = await ask("recovered", question);
    const cards = answer.images.map((image, place) => {
      const energy = energyText(answer.energies[place]);
      const alt = `Recovered, number ${place + 1}` + (energy && `, energy ${energy}`);
      return element("li", {}, figure(image, alt, energy));
    });
    get("fills").replaceChildren(...cards);
  }),
);

function startRecovery() {
  const scale = Math.max(Math.round(340 / facts.width), 1) * 2; // sharp on fine screens
  canvas.width = facts.width * scale;
  canvas.height = facts.height * scale;
  hidden = new Uint8Array(facts.width * facts.height);
  const side = Math.min(facts.width, facts.height);
  get("brush").max = Math.ceil(side / 2);
  get("brush").value = Math.ceil(side / 6);
  const brush = () => {
    get("brush-text").value = `${get("brush").value} pixels`;
    draw();
  };
  get("brush").addEventListener("input", brush);
  brush();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = null;
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) stroke(event);
  });
  canvas.addEventListener("keydown", byKey);
  canvas.addEventListener("focus", draw);
  canvas.addEventListener("blur", draw);
  get("erase").addEventListener("click", () => {
    get("erase").ariaPressed = String(get("erase").ariaPressed !== "true");
  });
  get("middle").addEventListener("click", hideMiddle);
  get("clear").addEventListener("click", () => {
    hidden.fill(0);
    draw();
  });
  get("recover").addEventListener("click", recover);
  get("file").addEventListener("change", takeFile);
  get("inverted").addEventListener("change", takeFile);
}

// Curves

const CHART = { width: 320, height: 150, left: 4, top: 14, bottom: 18 };

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function chart(curve) {
  const { width, height, left, top, bottom } = CHART;
  const { steps, values } = curve;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, end] = [steps[0], steps[steps.length - 1]];
  const across = (step) => left + ((step - first) / (end - first)) * (width - 2 * left);
  const down = (value) =>
    top + ((high - value) / (high - low || 1)) * (height - top - bottom);
  const points = steps.map((step, place) => `${across(step)},${down(values[place])}`);
  const spoken =
    `${curve.name}: ${number(values[0])} at step ${number(first, 9)}, ` +
    `${number(values[values.length - 1])} at step ${number(end, 9)}; ` +
    `from ${number(low)} to ${number(high)}`;
  const mark = drawn("circle", { class: "mark", r: 3.5 });
  const picture = drawn("svg", {
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": spoken,
  });
  picture.append(
    drawn("path", { class: "frame", d: `M0 ${top}H${width}M0 ${height - bottom}H${width}` }),
    drawn("polyline", { class: "line", points: points.join(" ") }),
    drawn("text", { x: 0, y: 10 }, number(high)),
    drawn("text", { x: 0, y: height - bottom + 12 }, number(low)),
    drawn("text", { x: width, y: height - bottom + 12, "text-anchor": "end" },
      `steps ${number(first, 9)} to ${number(end, 9)}`),
    mark,
  );
  const caption = element("figcaption");
  const point = (place) => {
    mark.setAttribute("cx", across(steps[place]));
    mark.setAttribute("cy", down(values[place]));
    caption.textContent = `${number(values[place])} at step ${number(steps[place], 9)}`;
  };
  point(steps.length - 1);
  picture.addEventListener("pointermove", (event) => {
    const area = picture.getBoundingClientRect();
    const step = first + ((event.clientX - area.left) / area.width) * (end - first);
    point(steps.reduce((best, one, place) =>
      Math.abs(one - step) < Math.abs(steps[best] - step) ? place : best, 0));
  });
  picture.addEventListener("pointerleave", () => point(steps.length - 1));
  const means = curve.lines > 1 ? ` A point is the mean of ${curve.lines} lines.` : "";
  return element("figure", {},
    element("h3", { textContent: curve.name }),
    element("p", { textContent: curve.about + means }), picture, caption);
}

const showCurves = () =>
  busy("curves", async () => {
    const curves = await ask("curves");
    get("charts").replaceChildren(...curves.map(chart));
    if (!curves.length)
      get("charts").textContent = "No metrics: copies of runs, as come along, have none.";
  });

// Classes

const showClass = newest(async () => {
  if (own) await take(own, null); // what was found of it was of the other class
  await showSamples();
  if (facts.nets.includes("generator")) await showMap();
});

function startClasses() {
  get("classes").hidden = !facts.classes.length;
  get("class").append(...facts.classes.map((name) => new Option(name)));
  if (facts.class !== null) get("class").value = facts.class;
  get("class").addEventListener("change", showClass);
}

// Start

async function start() {
  await busy("samples", async () => {
    facts = await ask("facts");
    document.title = `${facts.run} · coopnets`;
    get("run").textContent = facts.run;
    get("about").textContent = facts.about;
    document.body.classList.toggle("coarse", facts.width < 100);
  });
  if (!facts) return;
  startClasses();
  startRecovery();
  await showCurves();
  await startSamples();
  const [image] = get("cards").querySelectorAll("figure:last-child img");
  if (image) await take(image.src, (await samplesAfter(facts.steps)).energies[0]);
  await startWalk();
}

start();
