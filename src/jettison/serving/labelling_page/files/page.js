"use strict";
// One row at a time. What a person chose is sent at once, and shown as chosen only when it is saved.
const FEW = 9;
const at = (id) => document.getElementById(id);
let rows = [];
let classes = [];
let place = 0;
let finished = false;
// While an answer is on its way nothing else is taken: a fast key must not fall on another row.
let busy = false;

const labelled = () => rows.filter((row) => row.label).length;

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function show() {
  const row = rows[place];
  const done = labelled();
  at("progress").textContent =
    `Row ${place + 1} of ${rows.length}; ${done} of ${rows.length} have a label.`;
  at("bar").max = rows.length;
  at("bar").value = done;
  const list = document.createElement("dl");
  for (const [name, value] of Object.entries(row.values)) {
    list.append(element("dt", name), element("dd", value));
  }
  for (const [name, source] of Object.entries(row.pictures)) {
    const picture = document.createElement("img");
    picture.src = source;
    picture.alt = `${name} of row ${row.row}`;
    const cell = document.createElement("dd");
    cell.append(picture);
    list.append(element("dt", name), cell);
  }
  at("row").replaceChildren(list);
  for (const button of at("few").children) {
    button.setAttribute("aria-checked", String(button.dataset.label === row.label));
  }
  at("typed").value = row.label;
  at("back").disabled = place === 0;
  at("next").textContent = row.label ? "Next →" : "Skip →";
  at("next").disabled = place === rows.length - 1;
  at("finish").hidden = done < rows.length;
  if (classes.length > FEW) at("typed").focus();
}

async function post(name, body) {
  const answer = await fetch(name, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

function trouble(text) {
  at("trouble").textContent = text;
}

async function choose(label) {
  if (finished || busy) return;
  const row = rows[place];
  busy = true;
  try {
    await post("answer", { row: row.row, label });
  } catch (error) {
    trouble(`Not saved: ${error.message}. Is jettison still running?`);
    return;
  } finally {
    busy = false;
  }
  trouble("");
  row.label = label;
  const open = rows.findIndex((one, index) => index > place && !one.label);
  const first = open >= 0 ? open : rows.findIndex((one) => !one.label);
  if (first >= 0) place = first;
  show();
}

function go(step) {
  if (finished || busy) return;
  place = Math.min(rows.length - 1, Math.max(0, place + step));
  show();
}

async function finish() {
  if (finished || busy) return;
  busy = true;
  try {
    await post("finish", {});
  } catch (error) {
    trouble(`Not finished: ${error.message}`);
    return;
  } finally {
    busy = false;
  }
  finished = true;
  at("progress").textContent = "Done. The certificate is being made in the terminal; close this page.";
  for (const id of ["row", "few", "many", "back", "next", "finish"]) at(id).hidden = true;
}

function key(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  // A key that is held down answers once, and none answers while an answer is on its way.
  if ((event.repeat || busy) && event.target !== at("typed")) {
    // Enter would press the button in focus again.
    if (event.key === "Enter") event.preventDefault();
    return;
  }
  const typing = document.activeElement === at("typed") && at("typed").value;
  if (event.key === "ArrowLeft" && !typing) go(-1);
  else if (event.key === "ArrowRight" && !typing) go(1);
  else if (classes.length <= FEW && /^[1-9]$/.test(event.key) && classes[event.key - 1]) {
    choose(classes[event.key - 1]);
  } else return;
  event.preventDefault();
}

async function start() {
  const told = await (await fetch("rows")).json();
  rows = told.rows;
  classes = told.classes;
  if (classes.length <= FEW) {
    classes.forEach((label, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.label = label;
      button.setAttribute("role", "radio");
      button.append(element("kbd", String(index + 1)), label);
      button.addEventListener("click", () => choose(label));
      at("few").append(button);
    });
  } else {
    at("many").hidden = false;
    at("labels").append(...classes.map((label) => {
      const option = document.createElement("option");
      option.value = label;
      return option;
    }));
  }
  at("many").addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = at("typed").value.trim();
    if (classes.includes(typed)) choose(typed);
    else trouble(`“${typed}” is none of the ${classes.length} labels.`);
  });
  at("back").addEventListener("click", () => go(-1));
  at("next").addEventListener("click", () => go(1));
  at("finish").addEventListener("click", finish);
  document.addEventListener("keydown", key);
  place = Math.max(0, rows.findIndex((row) => !row.label));
  show();
}

start().catch((error) => trouble(String(error)));
