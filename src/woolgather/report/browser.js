"use strict";
// Draws the browser of rows from the JSON in #data. Texts reach the page through textContent only.
(() => {
  const open = (node) => { for (let n = node; n; n = n.parentElement) if (n.tagName === "DETAILS") n.open = true; };
  const follow = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target) { open(target); target.scrollIntoView(); }
  };
  addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest('a[href^="#"]');
    if (link && link.getAttribute("href") === location.hash) follow();
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
  follow();

  const source = document.getElementById("data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const get = (id) => document.getElementById(id);
  const [pick, filter, sort, search, back, list, count, pager, page] =
    ["pick", "filter", "sort", "search", "back", "rows", "count", "pager", "page"].map(get);
  const SIZE = 20, CLAMP = 900, trail = [];
  let at = 0, here = null;

  const make = (tag, kind, text) => {
    const node = document.createElement(tag);
    if (kind) node.className = kind;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const words = (name) => name.replaceAll("_", " ");
  const say = (n) => n.toLocaleString("en");
  const textOf = (row, name) => { const t = (row.texts || []).find((p) => p[0] === name); return t ? data.texts[t[1]] : ""; };
  const score = (v) => v === null ? "unreadable" : Number.isInteger(v) ? String(v) : v.toPrecision(3);

  // Where each id is: [step, place], in order of the steps. The first is where it was made.
  const places = new Map();
  data.steps.forEach((step, s) => step.rows.forEach((row, i) => {
    if (!places.has(row.id)) places.set(row.id, []);
    places.get(row.id).push([s, i]);
  }));
  const haystack = (row) => row.hay || (row.hay = [row.id, ...(row.texts || []).map((t) => data.texts[t[1]]),
    ...(row.verdicts || []).map((v) => data.texts[v[2]])].join("\n").toLowerCase());

  const option = (value, text) => { const o = make("option", "", text); o.value = value; return o; };
  data.steps.forEach((step, s) => pick.append(option(s, step.name)));

  const fill = () => {
    const step = data.steps[pick.value];
    const aside = Object.values(step.reasons).reduce((a, b) => a + b, 0);
    const sorts = new Set(step.rows.flatMap((row) => (row.verdicts || []).map((v) => v[0])));
    filter.replaceChildren(option("", `all ${say(step.total)}`), option("+", `in use (${say(step.total - aside)})`));
    if (aside) filter.append(option("-", `set aside (${say(aside)})`));
    Object.entries(step.reasons).sort((a, b) => b[1] - a[1])
      .forEach(([why, n]) => filter.append(option("=" + why, `— ${words(why)} (${say(n)})`)));
    sort.replaceChildren(option("", "order of writing"));
    sorts.forEach((name) => sort.append(option("-" + name, `${words(name)}, highest first`), option("+" + name, `${words(name)}, lowest first`)));
  };

  const found = () => {
    const step = data.steps[pick.value], how = filter.value, text = search.value.trim().toLowerCase();
    const rows = step.rows.map((row, i) => [row, i]).filter(([row]) =>
      (how === "" || (how === "+" ? !row.aside : how === "-" ? row.aside : row.aside === how.slice(1)))
      && (!text || haystack(row).includes(text)));
    if (sort.value) {
      const name = sort.value.slice(1), sign = sort.value[0] === "-" ? -1 : 1;
      const key = (row) => { const v = (row.verdicts || []).find((w) => w[0] === name); return v && v[1] !== null ? sign * v[1] : Infinity; };
      rows.sort((a, b) => { const x = key(a[0]), y = key(b[0]); return x === y ? a[1] - b[1] : x - y; });
    }
    return rows;
  };

  const block = (kind, text) => {
    const box = make("dd"), body = make("div", "text " + kind, text);
    body.dir = "auto";
    box.append(body);
    if (text.length > CLAMP || text.split("\n").length > 12) {
      body.classList.add("clamped");
      const more = make("button", "more", "Show all");
      more.type = "button";
      more.addEventListener("click", () => { more.textContent = body.classList.toggle("clamped") ? "Show all" : "Show less"; });
      box.append(more);
    }
    return box;
  };

  const jump = (id, s, i, label, kind) => {
    const button = make("button", "jump " + kind, label);
    button.type = "button";
    button.addEventListener("click", () => { trail.push([pick.value, filter.value, sort.value, search.value, at, here]); go(s, i); });
    return button;
  };

  const go = (s, i) => {
    pick.value = s; fill(); filter.value = ""; sort.value = ""; search.value = "";
    here = data.steps[s].rows[i].id; at = Math.floor(i / SIZE);
    show(); focus();
  };
  const focus = () => {
    const node = list.querySelector(".here");
    if (node) { node.focus({ preventScroll: true }); node.scrollIntoView({ block: "center" }); }
  };

  const card = (row) => {
    const box = make("article", "row" + (row.aside ? " out" : "") + (row.id === here ? " here" : ""));
    box.tabIndex = -1;
    const head = make("header"), fields = make("dl", "fields");
    const field = (name, node) => fields.append(make("dt", "", name), node);
    head.append(make("code", "", row.id));
    (row.verdicts || []).forEach((v) => { const p = make("span", "pill", words(v[0]) + " "); p.append(make("b", "", score(v[1]))); head.append(p); });
    if (row.finish === "length") head.append(make("span", "pill", "cut at the token limit"));
    if (row.aside) head.append(make("span", "pill bad", "set aside: " + words(row.aside)));
    box.append(head, fields);
    (row.texts || []).forEach(([name, t]) => field(name, block(name, data.texts[t])));
    (row.verdicts || []).filter((v) => data.texts[v[2]]).forEach((v) => field(words(v[0]), block("quiet", data.texts[v[2]])));
    if (row.parents) {
      const dd = make("dd");
      row.parents.forEach((id) => {
        const spot = places.get(id);
        if (!spot) { dd.append(make("code", "quiet", id + " "), make("span", "quiet", "(not in this sample) ")); return; }
        const [s, i] = spot[0];
        dd.append(jump(id, s, i, `${data.steps[s].name}: ${textOf(data.steps[s].rows[i], "instruction").slice(0, 70) || id}`, ""));
      });
      field("made from", dd);
    }
    const spots = places.get(row.id);
    if (spots.length > 1) {
      const dd = make("dd");
      spots.forEach(([s, i]) => {
        const other = data.steps[s].rows[i], kind = (other.aside ? "gone" : "") + (String(s) === pick.value ? " now" : "");
        dd.append(jump(row.id, s, i, data.steps[s].name, kind));
      });
      field("also in", dd);
    }
    if (row.meta) {
      const dd = make("dd");
      row.meta.forEach(([name, t]) => dd.append(make("span", "pill", `${words(name)}: ${data.texts[t].slice(0, 120)}`), " "));
      field("notes", dd);
    }
    return box;
  };

  const show = () => {
    const step = data.steps[pick.value], rows = found(), pages = Math.max(1, Math.ceil(rows.length / SIZE));
    at = Math.min(Math.max(at, 0), pages - 1);
    list.replaceChildren(...rows.slice(at * SIZE, (at + 1) * SIZE).map(([row]) => card(row)));
    const part = step.rows.length < step.total ? ` of the ${say(step.rows.length)} in this report, a sample of the step's ${say(step.total)}` : "";
    count.textContent = `${say(rows.length)} row${rows.length === 1 ? "" : "s"}${part}.`;
    pager.hidden = pages < 2;
    page.textContent = `${at + 1} of ${pages}`;
    get("previous").disabled = at === 0; get("next").disabled = at === pages - 1;
    back.hidden = !trail.length;
  };

  const again = () => { at = 0; here = null; show(); };
  pick.addEventListener("change", () => { fill(); search.value = ""; again(); });
  [filter, sort].forEach((node) => node.addEventListener("change", again));
  search.addEventListener("input", again);
  get("controls").addEventListener("submit", (event) => event.preventDefault());
  const turn = (by) => { at += by; show(); get("browser").scrollIntoView(); };
  get("previous").addEventListener("click", () => turn(-1));
  get("next").addEventListener("click", () => turn(1));
  back.addEventListener("click", () => {
    const [s, how, order, text, where, which] = trail.pop();
    pick.value = s; fill(); filter.value = how; sort.value = order; search.value = text; at = where; here = which;
    show(); focus();
  });
  get("controls").hidden = false;
  // Begin where most can be seen: the last step that rated rows or found them rated, and set some aside.
  const telling = data.steps.map((step, s) => [s, step]).filter(([, step]) =>
    Object.keys(step.reasons).length && step.rows.some((row) => row.verdicts)).map(([s]) => s);
  pick.value = telling.length ? telling.at(-1) : data.steps.length - 1;
  fill(); show();
})();
