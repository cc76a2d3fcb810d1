"use strict";
(() => {
  const POLL_MS = 2000;
  const KEPT = 31; // states: one minute
  const byId = (id) => document.getElementById(id);
  const history = [];
  const sections = new Map(); // "name version" -> { root, name, version, ... }
  let key = "";
  let fields = 0;

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  const ask = (path, options = {}) => {
    const headers = { ...(options.headers ?? {}), ...(key ? { authorization: `Bearer ${key}` } : {}) };
    return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  };

  // Numbers in words; a missing number is a dash, never a zero.
  const count = (value) => (value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: 1 }));
  const rate = (value) => (value == null ? "–" : `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} /s`);
  const milliseconds = (seconds) => {
    if (seconds == null) return "–";
    const ms = seconds * 1e3;
    return ms >= 1000 ? `${seconds.toFixed(1)} s` : `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
  };
  const number = (value) => (typeof value === "number" ? Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6 }) : String(value ?? "–"));
  const sum = (counts, wanted = () => true) =>
    Object.entries(counts ?? {}).reduce((total, [name, n]) => total + (wanted(name) ? n : 0), 0);

  const problem = (text) => {
    byId("problem").hidden = !text;
    byId("problem").textContent = text;
  };

  const setTiles = (list, entries) => {
    for (const [index, [name, value, note]] of entries.entries()) {
      let tile = list.children[index];
      if (!tile) {
        tile = make("div", { className: "tile" }, make("dt"), make("dd"));
        list.append(tile);
      }
      tile.firstChild.textContent = name;
      tile.lastChild.replaceChildren(
        make("span", { className: value.length > 9 ? "value long" : "value", textContent: value }),
        make("span", { className: "note", textContent: note }));
    }
  };

  // A counter that went down means that the server was started again: no rate from that.
  const perSecond = (newer, older, read) => {
    if (!newer || !older || newer.at <= older.at) return null;
    const before = read(older), after = read(newer);
    return before == null || after == null || after < before ? null : (after - before) / (newer.at - older.at);
  };
  const modelIn = (state, section) =>
    state.models.find((model) => model.name === section.name && model.version === section.version);
  const requestsOf = (section) => (state) => {
    const model = modelIn(state, section);
    return model ? sum(model.requests) : null;
  };
  const refusedOf = (section) => (state) => {
    const model = modelIn(state, section);
    return model ? sum(model.requests, (code) => Number(code) >= 400) : null;
  };
  const overMinute = (read) => perSecond(history.at(-1), history[0], read);

  const spark = (section) => {
    const points = history.slice(1).map((state, index) => perSecond(state, history[index], requestsOf(section)) ?? 0);
    const top = Math.max(1e-9, ...points);
    const step = 300 / (KEPT - 2);
    const drawn = points.map((value, index) => {
      const x = 300 - (points.length - 1 - index) * step;
      return `${x.toFixed(1)},${(42 - (value / top) * 40).toFixed(1)}`;
    });
    section.line.setAttribute("points", drawn.join(" "));
    section.top.textContent = `Requests over the last minute, at most ${rate(top > 1e-6 ? top : 0)}`;
  };

  const showLive = (section, model) => {
    const { latency = {} } = model;
    const few = (percentile) => (percentile == null ? `too few answers (${latency.n ?? 0})` : `of the last ${latency.n} answers`);
    setTiles(section.tiles, [
      ["Requests", rate(overMinute(requestsOf(section))), `${count(sum(model.requests))} since the start`],
      ["Latency, median", milliseconds(latency.p50), few(latency.p50)],
      ["Latency, p95", milliseconds(latency.p95), few(latency.p95)],
      ["Refused or failed", rate(overMinute(refusedOf(section))), refusals(model)],
      ["Waiting rows", count(model.queue_rows), `at most ${count(model.queue_rows_limit)}`],
      ["Rows in a batch", model.batches ? count(model.batch_rows / model.batches) : "–",
        `mean of ${count(model.batches ?? 0)} batches, at most ${count(model.batch_rows_limit)}`],
      ...quality(model.quality ?? {}),
    ]);
    const broken = brokenMargins(model.quality ?? {});
    section.broken.hidden = !broken.length;
    section.broken.lastChild.textContent =
      `Labels that came back show that a certified margin does not hold any more: ${broken.join("; ")}. Go back to the original.`;
    spark(section);
  };

  const brokenMargins = ({ margins = [] }) =>
    margins.filter((margin) => margin.held === 0).map((margin) => `${margin.metric}, ${margin.group}`);

  const quality = ({ margins = [], agreement = [], drift = [] }) => {
    const rows = Math.max(0, ...margins.map((margin) => margin.rows ?? 0));
    const far = drift.filter((feature) => feature.score > feature.limit);
    const [near] = agreement.filter((one) => one.value != null);
    return [
      ["Certified margin", !margins.length ? "–" : brokenMargins({ margins }).length ? "BROKEN" : rows ? "not broken" : "not yet checked",
        margins.length ? `by ${count(rows)} rows with a label and the original's answer` : "none is watched"],
      ["Like the original", near ? number(near.value) : "–",
        near ? `${near.metric}, ${number(near.low)} to ${number(near.high)}, n = ${count(near.rows)}` : "no original runs beside it"],
      ["Drift", !drift.length ? "–" : far.length ? `${far.length} of ${drift.length}` : "none",
        !drift.length ? "too few rows yet" : far.length ? `beyond the limit: ${far.slice(0, 4).map((one) => one.feature).join(", ")}` : `${drift.length} features, none beyond its limit`],
    ];
  };

  const refusals = (model) => {
    const told = Object.entries(model.rejected ?? {}).map(([reason, n]) => `${reason.replaceAll("_", " ")} ${count(n)}`);
    return told.length ? told.join(", ") : "none since the start";
  };

  const standing = (model) => {
    if (model.certified) {
      return make("p", { className: "badge ships" }, make("span", { ariaHidden: "true", textContent: "✓ " }), "Certified as served here");
    }
    const told = model.label.replace(/^uncertified:?\s*/, "").replace(/\.$/, "");
    const why = told && `${told[0].toUpperCase()}${told.slice(1)}. `;
    return make("div", { className: "banner", role: "alert" },
      make("strong", { textContent: "✗ NOT CERTIFIED" }),
      `${why}Nothing is known about the quality of these answers.`);
  };

  const drawing = () => {
    const space = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(space, "svg");
    const line = document.createElementNS(space, "polyline");
    picture.setAttribute("class", "spark");
    picture.setAttribute("viewBox", "0 0 300 44");
    picture.setAttribute("preserveAspectRatio", "none");
    picture.setAttribute("aria-hidden", "true");
    picture.append(line);
    return [picture, line];
  };

  const open = (model) => {
    const [picture, line] = drawing();
    const section = {
      name: model.name, version: model.version, spark: picture, line,
      tiles: make("dl", { className: "tiles" }), facts: make("p", { className: "facts" }),
      notes: make("ul", { hidden: true }), trial: make("div"),
      card: make("div"), whole: make("dl", { className: "glossary" }), top: make("p", { className: "note" }),
      broken: make("div", { className: "banner", role: "alert", hidden: true }, make("strong", { textContent: "✗ QUALITY BROKEN" }), make("span")),
    };
    section.root = make("section", { className: "model" },
      make("h2", {}, model.name),
      standing(model), section.broken, section.facts, section.notes, section.tiles, picture, section.top, section.trial,
      make("details", { className: "card" }, make("summary", { textContent: "Model card" }), section.whole, section.card));
    section.root.dataset.model = model.name;
    section.root.dataset.version = model.version;
    byId("models").append(section.root);
    describe(section);
    return section;
  };

  const describe = async (section) => {
    try {
      const reply = await ask(`/page/models/${encodeURIComponent(section.name)}/${encodeURIComponent(section.version)}`);
      const told = await reply.json();
      if (!reply.ok) throw new Error(told.error ?? `status ${reply.status}`);
      fill(section, told);
    } catch (error) {
      section.facts.textContent = `Its facts can't be read (${error.message}).`;
    }
  };

  const fill = (section, told) => {
    section.facts.textContent = told.summary;
    section.whole.replaceChildren(...Object.entries(told.facts).flatMap(([name, value]) =>
      [make("dt", { textContent: name }), make("dd", { className: "mono", textContent: value })]));
    section.notes.replaceChildren(...told.notes.map((note) => make("li", { textContent: note })));
    section.notes.hidden = !told.notes.length;
    // Rendered by the server from Markdown without HTML in it; the page's policy runs no script of it.
    section.card.innerHTML = told.card;
    section.trial.replaceChildren(...form(section, told.try));
    section.root.dataset.described = "yes";
  };

  const form = (section, trying) => {
    if (trying.kind === "none") {
      return [make("h3", { textContent: "Try it" }), make("p", { textContent: trying.label.replace("{name}", section.name) })];
    }
    fields += 1;
    const id = `input-${fields}`;
    const field = make("textarea", {
      id, value: trying.example, spellcheck: false, className: trying.kind === "text" ? "" : "mono",
      placeholder: trying.kind === "text" ? "Type a text" : "",
    });
    const button = make("button", { textContent: "Ask the model" });
    const result = make("div", { className: "result", ariaLive: "polite" });
    const made = make("form", {},
      make("h3", { textContent: "Try it" }),
      make("label", { htmlFor: id, textContent: trying.label }), field, button, result);
    made.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await run(section, trying, field.value, result);
      } catch (error) {
        result.replaceChildren(make("p", { className: "error", textContent: error.message }));
      } finally {
        button.disabled = false;
        result.dataset.done = String(Number(result.dataset.done ?? 0) + 1);
      }
    });
    return [made];
  };

  const rowOf = (trying, written) => {
    if (trying.kind === "text") return written;
    try {
      return JSON.parse(written);
    } catch (error) {
      throw new Error(`This is not JSON: ${error.message}`);
    }
  };

  const run = async (section, trying, written, result) => {
    const body = JSON.stringify({ rows: [rowOf(trying, written)] });
    const path = `/v2/models/${encodeURIComponent(section.name)}/versions/${encodeURIComponent(section.version)}/predict`;
    const began = performance.now();
    const reply = await ask(path, { method: "POST", headers: { "content-type": "application/json" }, body });
    const took = (performance.now() - began) / 1e3;
    const told = await reply.json();
    if (!reply.ok) throw new Error(`Refused (${reply.status}): ${told.error ?? ""}`);
    const [prediction = {}] = told.predictions ?? [];
    result.replaceChildren(
      ...headline(prediction), ...scores(prediction.scores),
      make("p", { className: "soft", textContent: `Answered in ${milliseconds(took)}, as seen from this browser, by version ${told.model_version}.` }),
      make("details", { open: !prediction.scores }, make("summary", { textContent: "The whole answer" }),
        make("pre", { textContent: JSON.stringify(told, null, 1) })));
  };

  const headline = (prediction) => {
    const said = prediction.label ?? prediction.value ?? (prediction.scores ? null : prediction.score);
    if (said == null) return [];
    return [make("p", { className: "said", textContent: typeof said === "number" ? number(said) : said })];
  };

  // Scores need not be probabilities: bars only where all of them lie between 0 and 1.
  const scores = (named) => {
    if (!named) return [];
    const ordered = Object.entries(named).sort(([, one], [, other]) => (other ?? -Infinity) - (one ?? -Infinity)).slice(0, 10);
    const shares = Object.values(named).every((value) => value != null && value >= 0 && value <= 1);
    return [make("ul", { className: "scores" }, ...ordered.map(([name, value]) => make("li", {},
      make("span", { textContent: name }),
      shares ? make("meter", { min: 0, max: 1, value, ariaLabel: name }) : make("span"),
      make("span", { className: "value", textContent: number(value) }))))];
  };

  const show = (state) => {
    history.push(state);
    if (history.length > KEPT) history.shift();
    const names = new Set(state.models.map((model) => `${model.name} ${model.version}`));
    for (const [name, section] of sections) {
      if (!names.has(name)) {
        section.root.remove();
        sections.delete(name);
      }
    }
    for (const model of state.models) {
      const name = `${model.name} ${model.version}`;
      if (!sections.has(name)) sections.set(name, open(model));
      showLive(sections.get(name), model);
    }
    const bad = [...new Set(state.models.filter((model) => !model.certified).map((model) => model.name))];
    const models = `${state.models.length} ${state.models.length === 1 ? "model" : "models"}`;
    byId("title").textContent = !state.models.length ? "No model is loaded"
      : `${models}, ${bad.length ? `NOT certified: ${bad.join(", ")}` : "certified"}`;
    byId("title").className = bad.length ? "error" : "";
    document.title = `${bad.length ? "✗ " : ""}jettison: ${models}`;
    document.documentElement.classList.remove("old");
    setTiles(byId("totals"), [
      ["Server", state.ready ? "ready" : "not ready", state.ready ? "takes requests" : "loading or draining"],
      ["In flight", count(state.in_flight), "requests now"],
    ]);
    document.documentElement.dataset.state = "shown";
  };

  const poll = async () => {
    if (!document.hidden) {
      try {
        const reply = await ask("/page/state");
        byId("unlock").hidden = reply.status !== 401;
        if (reply.ok) {
          show(await reply.json());
          problem("");
        } else if (reply.status === 401) {
          problem(key ? "The server does not take this key." : "");
          byId("title").textContent = "A key, please";
        } else {
          problem(`The server answers ${reply.status}.`);
        }
      } catch (error) {
        problem(`The server does not answer (${error.message}). What you see is old.`);
        document.documentElement.classList.add("old");
        setTiles(byId("totals"), [["Server", "no answer", "asking again"], ["In flight", "–", "requests now"]]);
      }
    }
    setTimeout(poll, POLL_MS);
  };

  byId("unlock").addEventListener("submit", (event) => {
    event.preventDefault();
    key = byId("key").value.trim();
    byId("key").value = "";
    ask("/page/state").then(async (reply) => {
      if (!reply.ok) return problem("The server does not take this key.");
      byId("unlock").hidden = true;
      problem("");
      return show(await reply.json());
    }, (error) => problem(error.message));
  });
  poll();
})();
