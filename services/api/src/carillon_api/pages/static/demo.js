// The demo: what a page needs for an inbox is one element and a function that gets tokens. The rest plays the
// service that sends.

const NAMES = ["bat", "chimeg"];
const JOB = "demo:job";
const STEP_MS = 400;
const at = (id) => document.getElementById(id);

/** An API key or a subscriber token: from behind the #, which no server sees, from this tab's memory, or typed in. */
const credential = {
  take() {
    const given = new URLSearchParams(location.hash.slice(1));
    const found = given.get("key") ?? given.get("token");
    if (found) {
      history.replaceState(null, "", location.pathname);
      sessionStorage.setItem("carillon-demo", found);
    }
    return sessionStorage.getItem("carillon-demo");
  },
  keep: (value) => sessionStorage.setItem("carillon-demo", value),
  forget: () => sessionStorage.removeItem("carillon-demo"),
};

async function call(key, method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body ? { "content-type": "application/json" } : {}) },
    body: body ? JSON.stringify(body) : undefined,
  });
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  throw Object.assign(new Error(content.detail || content.title || `HTTP ${answer.status}`), { status: answer.status });
}

/** What a product's own backend does when its page asks for a token. */
async function tokenFor(key, person) {
  const path = `/v1/subscribers/${encodeURIComponent(person)}/tokens`;
  const made = () => call(key, "POST", path, { topics: [JOB] });
  return made()
    .catch(async (error) => {
      if (error.status !== 404) throw error;
      await call(key, "PUT", `/v1/subscribers/${encodeURIComponent(person)}`, {});
      return made();
    })
    .then(({ token }) => token);
}

function show(name, tokenSource) {
  const window = at("person").content.cloneNode(true);
  const inbox = window.querySelector("carillon-inbox");
  const progress = window.querySelector("carillon-progress");
  const log = window.querySelector(".log");
  window.querySelector("h2").textContent = name;
  window.querySelector(".face").textContent = name.slice(0, 1);
  inbox.id = `inbox-${name}`;
  progress.setAttribute("for", inbox.id);
  progress.setAttribute("topic", JOB);
  at("people").append(window);
  inbox.tokenSource = tokenSource;
  listen(inbox, log);
}

/** Writes what comes into the little log; the element brings a new client whenever it starts anew. */
function listen(inbox, log) {
  const write = (text) => {
    const line = document.createElement("li");
    line.textContent = `${new Date().toLocaleTimeString("en-GB")} ${text}`;
    log.prepend(line);
    while (log.children.length > 50) log.lastElementChild.remove();
  };
  const counts = ({ unread, unseen, seq }) => `${unread} unread, ${unseen} unseen at ${seq}`;
  document.addEventListener("carillon-client", ({ detail }) => {
    if (detail !== inbox) return;
    detail.client.addEventListener("state", (event) => write(event.detail));
    detail.client.addEventListener("frame", ({ detail: frame }) => write(`${frame.event} → ${counts(frame.data.counts)}`));
    detail.client.addEventListener("signal", ({ detail: { name, data } }) => write(`signal ${name} ${data?.percentage ?? ""} %`));
  });
  inbox.addEventListener("carillon-open", (event) => {
    event.preventDefault(); // the demo has no pages to go to
    write(`opened “${event.detail.title}”`);
  });
}

function sending(key, people) {
  const buttons = [
    ...people.map((name) => [`To ${name}`, () => send([name])]),
    ["To both", () => send(people)],
    ["Ten at once", () => Promise.all(Array.from({ length: 10 }, (_, n) => send(people, ` (${n + 1})`)))],
    ["Run a job", () => job("done")],
    ["Run a job that fails", () => job("failed")],
  ];
  const content = () => ({ title: at("title").value, body: at("text").value, action_url: "/demo" });
  const send = (users, more = "") => {
    const data = { ...content(), title: content().title + more };
    return call(key, "POST", "/v1/events", { type: "message", data, audience: { users }, channels: ["inapp"] });
  };
  const job = async (status) => {
    const last = status === "done" ? 10 : 7;
    for (let step = 0; step <= last; step += 1) {
      const end = step === last;
      const message = !end ? `${step * 1200} of 12000 rows` : status === "done" ? "12000 rows imported" : "The disk is full";
      const data = { current: step, total: 10, percentage: step * 10, message, ...(end ? { status } : {}) };
      await call(key, "POST", "/v1/signals", { topics: [JOB], name: "job.progress", data });
      await new Promise((resolve) => setTimeout(resolve, STEP_MS));
    }
  };
  at("send-buttons").replaceChildren(...buttons.map(([text, run]) => button(text, run)));
  at("send").addEventListener("submit", (event) => event.preventDefault());
}

function button(text, run) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", async () => {
    if (!at("send").reportValidity()) return;
    at("sent").className = "quiet";
    at("sent").textContent = "";
    try {
      await run();
      at("sent").textContent = `${text}: done`;
    } catch (error) {
      at("sent").className = "quiet problem";
      at("sent").textContent = `${text}: ${error.message}`;
    }
  });
  return made;
}

async function open(found) {
  const isKey = found.startsWith("ck_");
  if (isKey) {
    for (const name of NAMES) await tokenFor(found, name); // a wrong key is told at once
    sending(found, NAMES);
    for (const name of NAMES) show(name, () => tokenFor(found, name));
  } else {
    await call(found, "GET", "/v1/inbox/unread-count");
    show("you", () => found);
  }
  credential.keep(found);
  at("send").hidden = !isKey;
  at("sign-in").hidden = true;
  at("demo").hidden = at("look").hidden = false;
}

async function start(found) {
  at("problem").hidden = true;
  at("sign-in").hidden = false;
  if (!found) return;
  try {
    await open(found);
  } catch (error) {
    credential.forget();
    at("people").replaceChildren();
    at("problem").textContent = error.message;
    at("problem").hidden = false;
  }
}

function look() {
  for (const inbox of document.querySelectorAll("carillon-inbox, carillon-progress")) inbox.setAttribute("lang", at("language").value);
  document.documentElement.dataset.theme = at("theme").value;
  document.documentElement.dir = at("mirrored").checked ? "rtl" : "ltr";
}

at("look").addEventListener("input", look);
at("leave").addEventListener("click", () => {
  credential.forget();
  location.reload();
});
at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  start(at("credential").value.trim());
});
start(credential.take());
