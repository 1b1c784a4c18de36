"use strict";

// The inbox as it is known here. `counts` are replaced by newer ones only (by `seq`), never added up.
const known = { token: "", topics: "", items: new Map(), counts: { seq: -1 }, cursor: null, lastId: null };
const at = (id) => document.getElementById(id);

async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { authorization: `Bearer ${known.token}`, ...(body ? { "content-type": "application/json" } : {}) },
    body: body ? JSON.stringify(body) : undefined,
  });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.detail || content.title || `HTTP ${answer.status}`);
  return content;
}

function showState(text, kind) {
  at("state").textContent = text;
  at("state").className = `state ${kind || ""}`;
}

function showProblem(error) {
  at("problem").textContent = error.message;
  at("problem").hidden = false;
}

function takeCounts(counts) {
  if (!counts || counts.seq < known.counts.seq) return;
  known.counts = counts;
  const badge = at("badge");
  badge.hidden = !counts.unread;
  badge.textContent = counts.unread;
  badge.setAttribute("aria-label", `${counts.unread} unread`);
  document.title = `${counts.unread ? `(${counts.unread}) ` : ""}Inbox · Carillon`;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function button(text, onClick) {
  const made = element("button", "", text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

function isSafe(url) {
  try {
    return ["http:", "https:"].includes(new URL(url, location.href).protocol);
  } catch {
    return false;
  }
}

function row(item) {
  const made = element("li", item.read_at ? "" : "unread");
  made.append(element("span", "title", item.title));
  if (item.body) made.append(element("div", "body", item.body));
  const when = new Date(item.created_at).toLocaleString();
  made.append(element("div", "meta", `${when} · ${item.type}`));
  const actions = element("div", "actions");
  if (item.action_url && isSafe(item.action_url)) {
    const link = element("a", "", "Open");
    link.href = item.action_url;
    link.rel = "noopener noreferrer";
    actions.append(link);
  }
  actions.append(button(item.read_at ? "Mark unread" : "Mark read", () => change(item.id, { read: !item.read_at })));
  actions.append(button("Archive", () => change(item.id, { archived: true })));
  made.append(actions);
  return made;
}

function draw() {
  const shown = [...known.items.values()].filter((item) => !item.archived_at);
  shown.sort((one, other) => (one.id < other.id ? 1 : -1));
  at("items").replaceChildren(...shown.map(row));
  at("empty").hidden = shown.length > 0;
  at("more").hidden = !known.cursor;
}

function keep(item) {
  const old = known.items.get(item.id);
  if (!old || old.seq <= item.seq) known.items.set(item.id, item);
}

async function change(id, what) {
  try {
    const done = await call("PATCH", `/v1/inbox/${id}`, what);
    keep(done.item);
    takeCounts(done.counts);
    draw();
  } catch (error) {
    showState(error.message, "lost");
  }
}

async function load({ anew }) {
  const query = anew || !known.cursor ? "" : `&cursor=${encodeURIComponent(known.cursor)}`;
  const page = await call("GET", `/v1/inbox?limit=20${query}`);
  if (anew) known.items.clear();
  page.data.forEach(keep);
  known.cursor = page.next_cursor;
  takeCounts(page);
  draw();
}

function takeUpdate(data) {
  if (data.all) {
    const now = new Date().toISOString();
    for (const item of known.items.values()) {
      if (data.all.read) item.read_at ??= now;
      item.seen_at ??= now;
    }
  }
  for (const state of data.items || []) {
    const item = known.items.get(state.id);
    if (state.deleted) known.items.delete(state.id);
    else if (item && item.seq <= state.seq) Object.assign(item, state);
  }
  takeCounts(data.counts);
  draw();
}

function takeSignal({ name, topic, data }) {
  const id = `signal ${topic || ""} ${name}`;
  let box = [...at("signals").children].find((child) => child.dataset.id === id);
  if (!box) {
    box = element("div", "signal");
    box.dataset.id = id;
    box.append(element("p"), document.createElement("progress"));
    at("signals").append(box);
  }
  const { current, total, percentage, message } = data || {};
  const percent = percentage ?? (total ? (100 * current) / total : null);
  const words = [message || name, percent === null ? "" : `${Math.round(percent)} %`];
  box.querySelector("p").textContent = words.filter(Boolean).join(" · ");
  const bar = box.querySelector("progress");
  bar.max = 100;
  if (percent === null) bar.removeAttribute("value");
  else bar.value = percent;
}

async function connect() {
  const { ticket, expires_at: expiresAt } = await call("POST", "/v1/inbox/ticket");
  const query = new URLSearchParams({ ticket });
  if (known.topics) query.set("topics", known.topics);
  // The first connection names where the list above ends; after that the browser resumes by itself.
  query.set("last_event_id", known.lastId ?? known.counts.seq);
  const source = new EventSource(`/v1/inbox/stream?${query}`);
  const on = (name, take) =>
    source.addEventListener(name, (event) => {
      if (event.lastEventId) known.lastId = event.lastEventId;
      take(JSON.parse(event.data));
    });
  on("ready", (data) => { showState("live", "live"); takeCounts(data.counts); });
  on("notification", (data) => { keep(data.item); takeCounts(data.counts); draw(); });
  on("update", takeUpdate);
  on("reset", (data) => { known.counts = { seq: -1 }; takeCounts(data.counts); load({ anew: true }); });
  on("signal", takeSignal);
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return showState("reconnecting …", "lost");
    if (Date.now() >= Date.parse(expiresAt)) return showState("the token has expired", "lost");
    showState("reconnecting …", "lost");
    setTimeout(() => connect().catch((error) => showState(error.message, "lost")), 2000);
  });
}

async function open() {
  at("problem").hidden = true;
  try {
    await load({ anew: true });
    at("sign-in").hidden = true;
    at("inbox").hidden = false;
    await connect();
  } catch (error) {
    showProblem(error);
  }
}

at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  known.token = at("token").value.trim();
  known.topics = at("topics").value.trim();
  open();
});
at("more").addEventListener("click", () => load({ anew: false }).catch((error) => showState(error.message, "lost")));
at("read-all").addEventListener("click", async () => {
  const done = await call("POST", "/v1/inbox:read-all");
  takeUpdate({ all: { read: true }, counts: done.counts });
});

// A link may carry the token behind the #, which no server and no log ever sees.
const given = new URLSearchParams(location.hash.slice(1));
if (given.get("token")) {
  history.replaceState(null, "", location.pathname);
  known.token = given.get("token");
  known.topics = given.get("topics") || "";
  open();
}
