// The page: files in, one request, predictions shown. Text is only ever set as text.

import { View } from "./crystal.js";

const $ = (id) => document.getElementById(id);
const made = (tag, content = "", look = "") => {
  const one = document.createElement(tag);
  one.append(...[content].flat());
  if (look) one.className = look;
  return one;
};
const number = (value, digits = 4) => (value === null ? "none" : Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(Number(value.toPrecision(digits))));
const withUnit = (text, unit) => (unit && unit !== "1" ? `${text} ${unit}` : text);
const named = (name, unit) => (unit && unit !== "1" ? `${name} (${unit})` : name);

const TRUST = {
  "in training": () => "known: the model has learned from this crystal",
  "like training": (said) => `like what the model has learned from (distance ${number(said.distance)}; 99 % of that is within ${number(said.usual_distance)})`,
  "far from training": (said) => `⚠ far from what the model has learned from (distance ${number(said.distance)}; 99 % of that is within ${number(said.usual_distance)})`,
  "unknown elements": (said) => `⚠ holds elements the model has never seen: ${said.unseen_elements}`,
  "not known": () => "how near it is to what the model has learned from is not known",
};

const SILICON = "Si\n5.43\n0 .5 .5\n.5 0 .5\n.5 .5 0\nSi\n2\nDirect\n0 0 0\n.25 .25 .25\n";

let most = 0, models = [], files = [], answer = null, shown = 0, view = null, asking = null;

async function fetched(address, options) {
  const response = await fetch(address, options);
  const content = await response.json().catch(() => ({ error: `the server answers ${response.status}` }));
  if (!response.ok) throw new Error(content.error);
  return content;
}

async function start() {
  try {
    const [health, known, looks] = await Promise.all(["health", "models", "elements"].map((path) => fetched(path)));
    models = known;
    most = health.most_bytes;
    view = new View($("view"), looks);
    $("models").replaceChildren(...models.map(choice));
    say("Choose or drop crystals.");
    $("example").hidden = false;
  } catch (error) {
    fail(error);
  }
}

function choice(model) {
  const box = made("input"), label = made("label", [box, made("span", model.name)]);
  Object.assign(box, { type: "checkbox", value: model.name, checked: model.chosen });
  for (const { name, unit, mae } of model.targets) {
    label.append(made("small", mae === null ? named(name, unit) : `${name}: mean test error ${withUnit(number(mae, 2), unit)}`));
  }
  label.title = model.about;
  return label;
}

async function ask() {
  const chosen = [...document.querySelectorAll("#models input:checked")].map((box) => box.value);
  asking?.abort();
  if (!files.length) return;
  if (!chosen.length) return say("Choose a model.", "bad");
  // said here, as a browser that still sends does not hear it
  const size = files.reduce((sum, file) => sum + file.size, 0);
  if (size > most) return say(`These files have ${number(size / 2 ** 20, 3)} MiB; at most ${most / 2 ** 20} are taken at a time.`, "bad");
  const form = new FormData();
  for (const file of files) form.append("files", file);
  for (const name of chosen) form.append("models", name);
  const { signal } = (asking = new AbortController());
  $("example").hidden = true;
  say(`Reading ${files.length} ${files.length === 1 ? "file" : "files"}…`);
  try {
    answer = await fetched("predict", { method: "POST", body: form, signal });
    shown = Math.min(shown, Math.max(0, answer.crystals.length - 1));
    show();
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

function say(text, look = "") {
  $("status").textContent = text;
  $("status").className = look;
}

function fail(error) {
  say(error instanceof TypeError ? "The server does not answer; is it still running?" : error.message, "bad");
}

function show() {
  const { crystals, problems } = answer, count = crystals.length;
  say(`${count} ${count === 1 ? "crystal" : "crystals"}${problems.length ? `, ${problems.length} left out:` : ""}`);
  $("problems").replaceChildren(...problems.map(({ file, message }) => made("li", `${file}: ${message}`)));
  $("problems").hidden = !problems.length;
  $("results").hidden = !count;
  if (!count) return;
  $("all").replaceChildren(...table());
  select(shown);
}

// Of what each model says: the property, and what else is known of it.
function* said(crystal) {
  for (const prediction of crystal.predictions) {
    const model = models.find(({ name }) => name === prediction.model);
    const targets = new Map(model.targets.map((target) => [target.name, target]));
    if (prediction.problem) yield { model, prediction, target: model.targets[0], value: null, of: () => undefined };
    for (const [column, value] of Object.entries(prediction.answers)) {
      const base = column.replace(/_(q\d+|std|spread)$/, "");
      if (targets.has(base) && base !== column) continue; // told beside the property
      const target = targets.get(column) ?? { name: column, unit: "", about: "", theory: "", mae: null };
      yield { model, prediction, target, value, of: (end) => prediction.answers[`${column}_${end}`] };
    }
  }
}

function select(row) {
  shown = row;
  const crystal = answer.crystals[row];
  [...$("all").tBodies[0].rows].forEach((line, i) => (i === row ? line.setAttribute("aria-current", "true") : line.removeAttribute("aria-current")));
  const counts = new Map();
  for (const symbol of crystal.elements) counts.set(symbol, (counts.get(symbol) ?? 0) + 1);
  $("view").setAttribute("aria-label", `${crystal.formula}: cell with ${[...counts].map(([symbol, n]) => `${n} ${symbol}`).join(", ")}`);
  $("legend").replaceChildren(...[...counts].flatMap(([symbol, n]) => [swatch(symbol, n), " "]));
  view.show(crystal);
  const size = `${crystal.elements.length} ${crystal.elements.length === 1 ? "atom" : "atoms"} in the cell · ${crystal.file}`;
  const notes = crystal.notes.map((text) => made("p", text, "soft"));
  $("details").replaceChildren(made("h2", crystal.id === crystal.formula ? crystal.id : `${crystal.id}: ${crystal.formula}`), made("div", size, "soft"), ...notes, ...crystal.predictions.map(told));
}

// What one model says of a crystal: a line for each property, then how far to trust them.
function told(prediction) {
  const part = made("section", made("h3", prediction.model)), rows = [];
  for (const { target, value, of } of said({ predictions: [prediction] })) {
    if (!prediction.problem) rows.push(made("tr", property(target, value, of)));
  }
  part.append(prediction.problem ? made("p", prediction.problem, "bad") : made("table", made("tbody", rows)));
  const words = TRUST[prediction.trust]?.(prediction) ?? "";
  part.append(made("p", words, words.startsWith("⚠") ? "bad" : "soft"));
  const near = (prediction.nearest ?? []).map(({ id, formula, labels }) => `${formula} (${id}${Object.entries(labels).map(([name, value]) => `, ${name} ${number(value)}`).join("")})`);
  if (near.length) part.append(made("p", `Nearest that it has learned from: ${near.join("; ")}`, "soft"));
  return part;
}

function property(target, value, of) {
  const [low, high, deviation, spread] = ["q5", "q95", "std", "spread"].map(of), lines = [];
  if (low !== undefined && high !== undefined) lines.push(`90 %: ${number(low)} to ${number(high)}`);
  if (target.mae !== null) lines.push(`mean test error ${number(target.mae, 2)}`);
  if (deviation !== undefined) lines.push(`standard deviation ${number(deviation, 2)}`);
  if (spread !== undefined) lines.push(`its trainings differ by ${number(spread, 2)}`);
  const head = made("th", [target.name, made("small", [target.about, target.theory].filter(Boolean).join("; "))]);
  head.scope = "row";
  const shown = typeof value === "string" ? value : withUnit(number(value), target.unit);
  return [head, made("td", [shown, made("small", lines.join("; "))], "value")];
}

function swatch(symbol, count) {
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg"), circle = document.createElementNS(drawn.namespaceURI, "circle");
  for (const [key, value] of Object.entries({ cx: 50, cy: 50, r: 46, fill: view.looks[symbol].colour, stroke: "currentColor", "stroke-width": 4 })) circle.setAttribute(key, value);
  drawn.setAttribute("viewBox", "0 0 100 100");
  drawn.setAttribute("aria-hidden", "true");
  drawn.append(circle);
  return made("span", [drawn, `${symbol} × ${count}`], "swatch");
}

function table() {
  const columns = [];
  for (const crystal of answer.crystals) {
    for (const { model, target } of said(crystal)) {
      if (!columns.some((one) => one.model === model && one.name === target.name)) columns.push({ model, name: target.name, unit: target.unit });
    }
  }
  const head = made("tr", ["crystal", "formula"].map((text) => made("th", text)));
  head.append(...columns.map(({ model, name, unit }) => made("th", [named(name, unit), made("small", model.name)])));
  for (const cell of head.cells) cell.scope = "col";
  const rows = answer.crystals.map((crystal, row) => {
    const button = made("button", crystal.id);
    button.type = "button";
    button.addEventListener("click", () => select(row));
    const line = made("tr", [made("td", button), made("td", crystal.formula)]), found = [...said(crystal)];
    for (const { model, name } of columns) {
      const one = found.find((each) => each.model === model && each.target.name === name);
      const doubtful = ["far from training", "unknown elements"].includes(one?.prediction.trust);
      const text = one === undefined || one.prediction.problem ? "–" : typeof one.value === "string" ? one.value : number(one.value);
      line.append(made("td", doubtful ? `⚠ ${text}` : text, doubtful ? "number bad" : "number"));
    }
    return line;
  });
  const caption = made("caption", "⚠: far from what the model has learned from, or with elements it has never seen", "soft");
  return [caption, made("thead", head), made("tbody", rows)];
}

function csv() {
  const rows = [["id", "file", "formula", "model", "property", "unit", "prediction", "q5", "q95", "trust", "unseen_elements", "distance", "problem"]];
  for (const crystal of answer.crystals) {
    for (const { model, prediction, target, value, of } of said(crystal)) {
      const { trust, unseen_elements: unseen, distance, problem } = prediction;
      rows.push([crystal.id, crystal.file, crystal.formula, model.name, target.name, target.unit, value, of("q5"), of("q95"), trust, unseen, distance, problem]);
    }
  }
  return rows.map((row) => row.map((cell) => `"${String(cell ?? "").replaceAll('"', '""')}"`).join(",")).join("\r\n") + "\r\n";
}

$("download").addEventListener("click", () => {
  const link = made("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "predictions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
});

$("files").addEventListener("change", () => {
  if (!$("files").files.length) return;
  files = [...$("files").files];
  $("files").value = ""; // the same files may be chosen again
  shown = 0;
  ask();
});
$("models").addEventListener("change", ask);
$("ask").addEventListener("submit", (event) => event.preventDefault());
$("example").addEventListener("click", () => {
  files = [new File([SILICON], "silicon.vasp")];
  shown = 0;
  ask();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
  });
}
document.addEventListener("drop", (event) => {
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry());
  if (entries.some((entry) => entry?.isDirectory)) return say("A folder cannot be read; drop the files in it.", "bad");
  if (!event.dataTransfer.files.length) return;
  files = [...event.dataTransfer.files];
  shown = 0;
  ask();
});

start();
