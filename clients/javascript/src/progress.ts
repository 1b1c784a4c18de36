import type { CarillonClient } from "./client.ts";
import { h, set } from "./dom.ts";
import type { CarillonInbox } from "./inbox.ts";
import { progressSheet } from "./styles.ts";
import { Language } from "./texts.ts";
import type { Signal } from "./types.ts";

/** What a signal about a job says; everything may be left out. */
interface Said {
  current?: number;
  total?: number;
  percentage?: number;
  message?: string;
  status?: string;
}

const DONE = ["done", "completed", "succeeded", "success"];
const FAILED = ["failed", "error", "cancelled"];

/**
 * `<carillon-progress topic="job:17">`: a bar that follows the signals of a topic. `name` takes those of one name only,
 * `label` says what goes on; `for` names the inbox whose stream it uses, or else the first of the page.
 */
export class CarillonProgress extends HTMLElement {
  static readonly observedAttributes = ["topic", "name", "label", "for", "lang"];
  #end: AbortController | null = null;
  #last: Said = {};
  readonly #message = h("span", { class: "message", dir: "auto" });
  readonly #percent = h("span", { class: "percent" });
  readonly #bar = h("div", { class: "bar" });
  readonly #track = h("div", { class: "track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, this.#bar);
  readonly #said = h("div", { class: "quietly", role: "status" });
  readonly #box = h("div", { part: "progress" }, h("div", { class: "line" }, this.#message, this.#percent), this.#track, this.#said);

  connectedCallback(): void {
    this.#start();
  }

  disconnectedCallback(): void {
    this.#end?.abort();
  }

  attributeChangedCallback(name: string): void {
    if (!this.isConnected) return;
    if (name === "lang" || name === "label") this.#show(this.#last);
    else this.#start();
  }

  #start(): void {
    this.#end?.abort();
    const { signal } = (this.#end = new AbortController());
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [progressSheet()];
    root.replaceChildren(this.#box);
    this.#show({});
    const found = this.#inbox()?.client;
    if (found) this.#follow(found, signal);
    // The inbox may come later, or come anew for somebody else.
    document.addEventListener(
      "carillon-client",
      (event) => (event as CustomEvent).detail === this.#inbox() && this.#start(),
      { signal },
    );
  }

  #inbox(): CarillonInbox | null {
    const id = this.getAttribute("for");
    return (id ? document.getElementById(id) : document.querySelector("carillon-inbox")) as CarillonInbox | null;
  }

  #follow(client: CarillonClient, signal: AbortSignal): void {
    const topic = this.getAttribute("topic");
    if (!topic) return;
    const name = this.getAttribute("name");
    client.addEventListener(
      "signal",
      (event) => {
        const one = (event as CustomEvent<Signal>).detail;
        if (one.topic === topic && (!name || one.name === name)) this.#show((one.data ?? {}) as Said);
      },
      { signal },
    );
    client.addEventListener("topicsrefused", () => this.#refused(), { signal });
    const last = client.lastSignal(topic, name ?? undefined);
    if (last) this.#show((last.data ?? {}) as Said);
    signal.addEventListener("abort", client.follow(topic));
  }

  #show(said: Said): void {
    this.#last = said;
    const language = this.#language();
    const percent = said.percentage ?? (said.total ? (100 * (said.current ?? 0)) / said.total : null);
    const failed = FAILED.includes(said.status ?? "");
    const done = !failed && (DONE.includes(said.status ?? "") || (percent !== null && percent >= 100));
    const kind = failed ? "failed" : done ? "done" : percent === null ? "unknown" : "going";
    const words = said.message ?? language.say(failed ? "jobFailed" : done ? "done" : percent === null ? "waiting" : "progress");
    const shown = done ? 100 : percent === null ? null : Math.max(0, Math.min(100, percent));
    set(this.#box, { class: kind });
    set(this, { "data-state": kind });
    this.#message.textContent = words;
    this.#percent.textContent = shown === null ? "" : language.percent(shown);
    this.#bar.style.width = shown === null ? "" : `${shown}%`;
    set(this.#track, {
      "aria-label": this.getAttribute("label") ?? language.say("progress"),
      "aria-valuenow": shown === null ? null : Math.round(shown),
      "aria-valuetext": shown === null ? words : `${language.percent(shown)}, ${words}`,
    });
    // The end is said aloud, the steps on the way are not.
    if (done || failed) this.#said.textContent = `${language.say(failed ? "jobFailed" : "done")}. ${said.message ?? ""}`;
    else this.#said.textContent = "";
  }

  #refused(): void {
    this.#show({ status: "failed", message: this.#language().say("topicRefused") });
  }

  #language(): Language {
    return new Language(this.closest<HTMLElement>("[lang]")?.lang || navigator.language || "en");
  }
}
