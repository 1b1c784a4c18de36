"use strict";

const POLL_MILLISECONDS = 2000;
const MAILS_SHOWN = 200;
const byId = (id) => document.getElementById(id);
const main = document.querySelector("main");
const chosen = { view: "mail", person: null, mail: null, part: null };
let revision = null;
let shownMail = null;

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

async function get(path) {
  const reply = await fetch(path, { headers: { Accept: "application/json" } });
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
}

const clock = (iso) => new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = (iso) => new Date(iso).toLocaleDateString([], { dateStyle: "medium" });

function row({ title, line, side, badge, current, choose }) {
  const button = element("button", { type: "button", onclick: choose },
    element("strong", { textContent: title, title }),
    element("time", { textContent: side }),
    element("small", { textContent: line }));
  if (badge) button.append(element("span", { className: "count", textContent: badge }));
  button.setAttribute("aria-current", String(current));
  return element("li", {}, button);
}

function replaceKeepingFocus(list, rows) {
  const index = [...list.children].findIndex((item) => item.contains(document.activeElement));
  list.replaceChildren(...rows);
  if (index >= 0) list.children[index]?.querySelector("button")?.focus({ preventScroll: true });
}

function showPeople(overview) {
  const mail = chosen.view === "mail";
  const people = mail
    ? overview.mailboxes.map((box) => ({ who: box.address, line: box.last_subject || "(no subject)", ...box }))
    : overview.phones.map((phone) => ({ who: phone.number, line: (phone.last_body || "").split("\n")[0] || "WhatsApp", ...phone }));
  const total = mail ? overview.mailbox_total : overview.phone_total;
  replaceKeepingFocus(byId("people"), people.map((person) => row({
    title: mail ? person.who : `+${person.who}`, line: person.line, side: clock(person.last_at), badge: person.count,
    current: person.who === chosen.person, choose: () => choosePerson(person.who),
  })));
  byId("more").hidden = people.length >= total;
  byId("more").textContent = `${people.length} of ${total} shown. Type to find another.`;
  if (!people.length) {
    byId("more").hidden = false;
    byId("more").textContent = total ? "Nobody is found." : "Nothing has arrived yet.";
  }
  byId("mail-total").textContent = overview.mail_total;
  byId("whatsapp-total").textContent = overview.whatsapp_total;
  return people;
}

async function showMails() {
  const page = await get(`/api/mail?detail=false&limit=${MAILS_SHOWN}&to=${encodeURIComponent(chosen.person)}`);
  byId("list-title").textContent = chosen.person;
  replaceKeepingFocus(byId("mails"), page.items.reverse().map((mail) => row({
    title: mail.subject || "(no subject)", line: `from ${mail.envelope.from}`, side: clock(mail.received_at),
    current: mail.n === chosen.mail, choose: () => chooseMail(mail.n),
  })));
  return page.items;
}

function field(name, value) {
  return [element("dt", { textContent: name }), element("dd", { textContent: value })];
}

async function showMail() {
  if (shownMail === `${chosen.mail}/${chosen.part}`) return;
  const mail = await get(`/api/mail/${chosen.mail}/message`);
  const parts = ["html", "text"].filter((part) => mail[part] !== null).concat(mail.source_kept ? ["headers", "source"] : []);
  if (!parts.includes(chosen.part)) chosen.part = parts[0] ?? null;
  shownMail = `${chosen.mail}/${chosen.part}`;
  const tabs = parts.map((part) => {
    const tab = element("button", { type: "button", className: "quiet", textContent: part.toUpperCase(),
      onclick: () => { chosen.part = part; refresh(true); } });
    tab.setAttribute("aria-pressed", String(part === chosen.part));
    return tab;
  });
  byId("reader").replaceChildren(element("article", { className: "mail" },
    element("header", {},
      element("h3", { textContent: mail.subject || "(no subject)" }),
      element("dl", {}, ...field("From", mail.from), ...field("To", mail.to.join(", ")),
        ...field("Received", `${day(mail.received_at)}, ${clock(mail.received_at)}`),
        ...field("Size", `${mail.size.toLocaleString()} bytes`),
        ...mail.attachments.flatMap((file) => field("Attached", `${file.filename ?? file.content_type} (${file.size} bytes)`)))),
    element("div", { className: "parts" }, ...tabs), await bodyOf(mail)));
}

async function bodyOf(mail) {
  if (chosen.part === "html") {
    const frame = element("iframe", { title: "The mail's HTML" });
    frame.setAttribute("sandbox", "allow-popups allow-popups-to-escape-sandbox");
    frame.src = `/api/mail/${mail.n}/html`;
    return frame;
  }
  if (chosen.part === "source") {
    return element("pre", { textContent: await (await fetch(`/api/mail/${mail.n}`)).text() });
  }
  if (chosen.part === "headers") {
    return element("pre", { textContent: Object.entries(mail.headers).map(([name, value]) => `${name}: ${value}`).join("\n") });
  }
  return element("pre", { textContent: mail.text ?? "The source of this old mail is no longer kept." });
}

const MARKS = { sent: "✓ sent", delivered: "✓✓ delivered", read: "✓✓ read", failed: "✕ failed" };

/* WhatsApp's own marks: *bold* and _italic_. */
function formatted(text) {
  return text.split(/(\*[^*\n]+\*|\b_[^_\n]+_\b)/).filter(Boolean).map((piece) => {
    const name = piece.length > 2 && { "*": "strong", _: "em" }[piece[0]];
    return name && piece.endsWith(piece[0]) ? element(name, { textContent: piece.slice(1, -1) }) : piece;
  });
}

function bubble(message) {
  const last = message.statuses.at(-1)?.status;
  const foot = element("footer", { textContent: clock(message.received_at) });
  if (last) foot.append(" ", element("span", { className: last, textContent: MARKS[last] ?? last }));
  const node = element("div", { className: "bubble" });
  if (message.template) {
    const { name, language } = message.template;
    node.append(element("span", { className: "kind", textContent: `${name} (${language.code})` }));
  }
  node.append(...formatted(message.body || `(${message.type})`), foot);
  node.title = message.id;
  return node;
}

async function showPhone() {
  const page = await get(`/api/whatsapp?limit=${MAILS_SHOWN}&to=${encodeURIComponent(chosen.person)}`);
  const chat = element("div", { className: "chat" });
  let today = null;
  for (const message of page.items) {
    if (day(message.received_at) !== today) {
      today = day(message.received_at);
      chat.append(element("div", { className: "day", textContent: today }));
    }
    chat.append(bubble(message));
  }
  byId("reader").replaceChildren(element("article", { className: "phone" },
    element("header", { textContent: `+${chosen.person}` }), chat));
  chat.scrollTop = chat.scrollHeight;
}

function showNothing() {
  shownMail = null;
  byId("list-title").textContent = "";
  byId("mails").replaceChildren();
  byId("reader").replaceChildren(byId("empty").content.cloneNode(true));
}

async function showAll(overview) {
  const people = showPeople(overview);
  if (chosen.person === null && people.length) chosen.person = people[0].who;
  if (chosen.person === null) return showNothing();
  if (chosen.view === "phones") await showPhone();
  else {
    const mails = await showMails();
    if (chosen.mail === null && mails.length) chosen.mail = mails[0].n;
    if (chosen.mail === null) return showNothing();
    await showMail();
  }
  showPeople(overview);
}

async function refresh(always) {
  try {
    const overview = await get(`/api/overview?containing=${encodeURIComponent(byId("search").value.trim().replace(/^\+/, ""))}`);
    delete byId("connection").dataset.lost;
    byId("connection").textContent = "live";
    if (always || overview.revision !== revision) {
      revision = overview.revision;
      await showAll(overview);
    }
  } catch (problem) {
    byId("connection").dataset.lost = "";
    byId("connection").textContent = problem instanceof TypeError ? "not reachable, trying again" : String(problem.message);
    revision = null;
  }
}

function remember() {
  const parts = [chosen.view, chosen.person, chosen.mail].filter((part) => part !== null);
  history.replaceState(null, "", `#${parts.map(encodeURIComponent).join("/")}`);
}

function recall() {
  const [view, person, mail] = location.hash.slice(1).split("/").map(decodeURIComponent);
  chooseView(view === "phones" ? "phones" : "mail");
  chosen.person = person ?? null;
  chosen.mail = mail ? Number(mail) : null;
  if (person) main.dataset.depth = chosen.mail || view === "phones" ? "read" : "list";
}

function chooseView(view) {
  Object.assign(chosen, { view, person: null, mail: null });
  shownMail = null;
  Object.assign(main.dataset, { view, depth: "people" });
  byId("tab-mail").setAttribute("aria-pressed", String(view === "mail"));
  byId("tab-phones").setAttribute("aria-pressed", String(view === "phones"));
}

function choosePerson(person) {
  Object.assign(chosen, { person, mail: null });
  main.dataset.depth = chosen.view === "phones" ? "read" : "list";
  remember();
  refresh(true);
}

function chooseMail(n) {
  chosen.mail = n;
  main.dataset.depth = "read";
  remember();
  refresh(true);
}

for (const [id, view] of [["tab-mail", "mail"], ["tab-phones", "phones"]]) {
  byId(id).addEventListener("click", () => { chooseView(view); remember(); refresh(true); });
}
for (const button of document.querySelectorAll("[data-back]")) {
  button.addEventListener("click", () => {
    main.dataset.depth = chosen.view === "phones" ? "people" : button.dataset.back;
  });
}
byId("search").addEventListener("input", () => refresh(true));
byId("clear").addEventListener("click", async () => {
  if (!confirm("Forget all mails and messages?")) return;
  await fetch("/api/messages", { method: "DELETE" });
  chooseView(chosen.view);
  remember();
  refresh(true);
});
addEventListener("hashchange", () => { recall(); refresh(true); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(false); });
setInterval(() => { if (!document.hidden) refresh(false); }, POLL_MILLISECONDS);
recall();
refresh(true);
