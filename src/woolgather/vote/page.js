"use strict";
// Shows a pair, sends a choice, shows the next. Every text of a run is written with `textContent`.
const at = (id) => document.getElementById(id);
const keys = { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 0: "tie", t: "tie" };
const mine = []; // pairs that this page voted on, the last one last
const FLASH = 140; // milliseconds that a choice is seen before the next pair comes
let state = null;
let busy = false;

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

async function call(name, body) {
  const post = body && { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const reply = await fetch(name, post || {});
  if (!reply.ok) throw new Error(String(reply.status));
  at("trouble").hidden = true;
  return reply.json();
}

function complain() {
  at("trouble").textContent = "No answer from woolgather: is `woolgather vote` still running? Votes so far are kept.";
  at("trouble").hidden = false;
}

function write(id, text) {
  at(id).textContent = text;
  at(id).hidden = !text;
}

function show(next) {
  state = next;
  const pair = state.pair;
  at("booth").hidden = !pair;
  at("end").hidden = Boolean(pair);
  if (pair) {
    at("part").textContent = pair.part === "probe" ? "Probe" : "Held-out task";
    write("system", pair.system);
    write("instruction", pair.instruction);
    write("input", pair.input);
    for (const side of ["left", "right"]) {
      at(side).querySelector(".text").textContent = pair[side];
      at(side).classList.toggle("cut", pair.cut.includes(side));
      at(side).querySelector(".scroll").scrollTop = 0;
    }
    at("prompt").scrollTop = 0;
  }
  document.querySelectorAll(".chosen").forEach((each) => each.classList.remove("chosen"));
  const ties = state.ties ? `, ${state.ties} ${state.ties === 1 ? "tie" : "ties"}` : "";
  at("count").textContent = `${state.voted} of ${state.total}${ties}`;
  at("told").textContent = state.told;
  at("undo").disabled = !(mine.length || state.last);
  progress();
}

function progress() {
  const bar = at("bar");
  bar.setAttribute("aria-valuemax", state.total);
  bar.setAttribute("aria-valuenow", state.voted);
  at("done").style.width = `${(100 * state.voted) / state.total}%`;
  bar.querySelectorAll("i").forEach((mark) => mark.remove());
  for (const votes of state.marks.filter((votes) => votes < state.total)) {
    const mark = document.createElement("i");
    mark.style.left = `${(100 * votes) / state.total}%`;
    mark.title = `${votes} votes`;
    bar.append(mark);
  }
}

async function once(work) {
  if (busy) return;
  busy = true;
  try {
    await work();
  } catch {
    complain();
  } finally {
    busy = false;
  }
}

const vote = (choice) => once(async () => {
  if (!state || !state.pair) return;
  const pair = state.pair.id;
  const marked = document.querySelectorAll(`#${choice}, [data-choice="${choice}"]`);
  marked.forEach((each) => each.classList.add("chosen"));
  try {
    const [next] = await Promise.all([call("vote", { pair, choice }), pause(FLASH)]);
    if (next.counts) mine.push(pair);
    show(next);
  } finally {
    marked.forEach((each) => each.classList.remove("chosen"));
  }
});

const undo = () => once(async () => {
  const pair = mine.pop() || (state && state.last);
  if (pair) show(await call("undo", { pair }));
});

function cells(row, tag) {
  const line = document.createElement("tr");
  for (const text of row) line.append(Object.assign(document.createElement(tag), { textContent: text }));
  return line;
}

const reveal = () => once(async () => {
  const found = await call("result");
  at("sentence").textContent = found.sentence;
  at("tables").replaceChildren(...found.tables.flatMap((table) => {
    const drawn = document.createElement("table");
    const title = Object.assign(document.createElement("caption"), { textContent: table.title });
    drawn.append(title, cells(table.columns, "th"), ...table.rows.map((row) => cells(row, "td")));
    return [drawn, Object.assign(document.createElement("p"), { className: "minor", textContent: table.note })];
  }));
  at("sure").hidden = true;
  at("found").hidden = false;
});

function ask() {
  at("sure").hidden = false;
  at("found").hidden = true;
  at("result").showModal();
}

function scroll(distance) {
  for (const side of ["left", "right"]) at(side).querySelector(".scroll").scrollBy({ top: distance });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && !event.key.startsWith("Arrow")) return;
  if (at("result").open) return;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    scroll(event.key === "ArrowDown" ? 90 : -90);
  } else if (event.repeat) {
    return;
  } else if (keys[event.key]) {
    vote(keys[event.key]);
  } else if (event.key === "u") {
    undo();
  } else if (event.key === "r") {
    ask();
  }
});
document.querySelectorAll("[data-choice]").forEach((button) => {
  button.addEventListener("click", () => vote(button.dataset.choice));
});
for (const side of ["left", "right"]) {
  at(side).addEventListener("click", () => String(getSelection()) || vote(side)); // selecting is no vote
}
at("undo").addEventListener("click", undo);
at("ask").addEventListener("click", ask);
at("show").addEventListener("click", reveal);
document.querySelectorAll(".close").forEach((button) => button.addEventListener("click", () => at("result").close()));
once(async () => show(await call("state")));
