import { Api, bearer, type TokenSource } from "./api.ts";
import { Stream } from "./stream.ts";
import { Tabs, type Told } from "./tabs.ts";
import type {
  Change, Counts, Frame, Item, Page, PreferenceOptions, Preferences, Query, QuietHours, Signal, State,
} from "./types.ts";

export interface ClientOptions {
  /** Where the API is; nothing for the page's own origin. */
  url?: string;
  /** A subscriber token, or better a function that gets a fresh one. */
  token: string | TokenSource;
}

/**
 * A person's inbox: calls, counts, and one stream for all tabs of the browser.
 *
 * Events: `counts` (the badge), `state`, `frame` (a change of the feed, each once and in order), `reset` (read what
 * you show anew), `signal`, `topicsrefused`.
 */
export class CarillonClient extends EventTarget {
  readonly api: Api;
  counts: Counts = { unread: 0, unseen: 0, seq: -1 };
  state: State = "idle";
  #tabs: Tabs | null = null;
  #stream: Stream | null = null;
  #cursor: number | null = null;
  #reading = false;
  #held: Told[] = [];
  #topics = new Map<string, number>();
  #others = new Map<string, string[]>();
  #asked: string[] = [];
  #signals = new Map<string, Signal>();

  constructor({ url = "", token }: ClientOptions) {
    super();
    this.api = new Api(url.replace(/\/$/, ""), typeof token === "string" ? () => token : token);
  }

  /** Reads the counts and opens the stream. Does nothing when it was started. */
  async start(): Promise<void> {
    if (this.#tabs) return;
    const tabs = (this.#tabs = new Tabs(null, this.#user()));
    this.#become("connecting");
    const who = bearer(await this.api.token().catch(() => ""));
    if (this.#tabs !== tabs) return; // closed meanwhile
    this.#tabs = new Tabs(who && `${this.api.url || location.origin}:${who}`, this.#user());
    this.#tabs.start();
    this.#tabs.tell("hello", { topics: this.topics });
    await this.#read();
  }

  close(): void {
    this.#tabs?.close();
    this.#tabs = this.#stream = this.#cursor = null;
    this.#become("idle");
  }

  /** One page of the feed, newest first. */
  async list(query: Query = {}): Promise<Page> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
    const page = await this.api.json<Page>("GET", `/v1/inbox?${new URLSearchParams(given as [string, string][])}`);
    this.#count(page);
    return page;
  }

  change(id: string, change: Change): Promise<{ item: Item; counts: Counts }> {
    return this.#counted(this.api.json("PATCH", `/v1/inbox/${id}`, change));
  }

  remove(id: string): Promise<{ counts: Counts }> {
    return this.#counted(this.api.json("DELETE", `/v1/inbox/${id}`));
  }

  bulk(ids: string[], set: Change | { deleted: true }): Promise<{ items: Item[]; counts: Counts }> {
    return this.#counted(this.api.json("POST", "/v1/inbox:bulk", { ids, set }));
  }

  /** Marks everything read (or only seen), or archives what is read. */
  all(what: "read-all" | "seen-all" | "archive-read"): Promise<{ counts: Counts }> {
    return this.#counted(this.api.json("POST", `/v1/inbox:${what}`));
  }

  options(): Promise<PreferenceOptions> {
    return this.api.json("GET", "/v1/me/preferences/options");
  }

  preferences(): Promise<Preferences> {
    return this.api.json("GET", "/v1/me/preferences");
  }

  setPreferences(chosen: Preferences): Promise<Preferences> {
    return this.api.json("PUT", "/v1/me/preferences", chosen);
  }

  quietHours(): Promise<QuietHours | null> {
    return this.api.json("GET", "/v1/me/quiet-hours");
  }

  /** With null there are none. */
  setQuietHours(hours: QuietHours | null): Promise<unknown> {
    return hours ? this.api.json("PUT", "/v1/me/quiet-hours", hours) : this.api.json("DELETE", "/v1/me/quiet-hours");
  }

  unmute(topic: string): Promise<unknown> {
    return this.api.json("DELETE", `/v1/me/muted/${encodeURIComponent(topic)}`);
  }

  /** The topics that this tab follows. */
  get topics(): string[] {
    return [...this.#topics.keys()].sort();
  }

  /** The newest signal of a topic that was seen here; without a name, of any name. */
  lastSignal(topic: string, name?: string): Signal | undefined {
    return [...this.#signals.values()].findLast((one) => one.topic === topic && (!name || one.name === name));
  }

  /** Follows a topic's signals until the returned function is called. */
  follow(topic: string): () => void {
    const add = (number: number) => {
      const followers = (this.#topics.get(topic) ?? 0) + number;
      if (followers > 0) this.#topics.set(topic, followers);
      else this.#topics.delete(topic);
      queueMicrotask(() => this.#topicsChanged()); // once for all that changes together
    };
    add(1);
    return () => add(-1);
  }

  #user() {
    return { lead: (signal: AbortSignal) => this.#lead(signal), told: (message: Told) => this.#told(message) };
  }

  /** Opens the stream for all tabs. A new leader goes on where it is itself; who has more ignores what it knows. */
  async #lead(signal: AbortSignal): Promise<void> {
    this.#stream = new Stream(
      this.api,
      {
        cursor: () => this.#cursor,
        topics: () => (this.#asked = this.#wanted()),
        frame: (frame) => this.#pass(frame),
        state: (state) => {
          this.#become(state);
          this.#tabs?.tell("state", { state });
        },
        topicsRefused: () => {
          this.#emit("topicsrefused");
          this.#tabs?.tell("topicsrefused");
        },
      },
      signal,
    );
    this.#tabs?.tell("who");
    await this.#stream.run();
    this.#stream = null;
  }

  #pass(frame: Frame): void {
    const message: Told = { kind: "frame", tab: "", frame, before: this.#cursor };
    this.#tabs?.tell("frame", { frame, before: this.#cursor });
    this.#told(message);
  }

  #told(message: Told): void {
    switch (message.kind) {
      case "frame":
        if (this.#reading) this.#held.push(message);
        else this.#frame(message.frame, message.before);
        break;
      case "state":
        this.#become(message.state);
        break;
      case "topicsrefused":
        this.#emit("topicsrefused");
        break;
      case "who":
        this.#tabs?.tell("hello", { topics: this.topics });
        break;
      case "hello":
        this.#hear(message.tab, message.topics);
        break;
      case "signals":
        for (const signal of message.signals) this.#signal(signal);
        break;
      case "bye":
        this.#others.delete(message.tab);
    }
  }

  #hear(tab: string, topics: string[]): void {
    if (!this.#stream) return;
    this.#others.set(tab, topics);
    this.#tabs?.tell("state", { state: this.state });
    const known = [...this.#signals.values()].filter((signal) => signal.topic && topics.includes(signal.topic));
    if (known.length) this.#tabs?.tell("signals", { signals: known });
    this.#follow();
  }

  /** Takes one frame, if it is next. `before` is where its sender was: a tab that is not as far has missed something. */
  #frame(frame: Frame, before: number | null): void {
    if (frame.event === "signal") return this.#signal(frame.data);
    if (frame.event === "ready") {
      this.#count(frame.data.counts);
      if (this.#cursor !== null) return;
      this.#cursor = frame.id; // the feed could not be read before: now it can
      return this.#emit("reset");
    }
    if (frame.event === "reset") {
      this.counts = frame.data.counts;
      this.#cursor = null;
      return void this.#read();
    }
    if (frame.id !== null && this.#cursor !== null && frame.id <= this.#cursor) return;
    if (this.#cursor !== null && before !== null && before > this.#cursor) return void this.#read();
    this.#cursor = frame.id ?? this.#cursor;
    this.#count(frame.data.counts);
    this.#emit("frame", frame);
  }

  /** Reads where the feed is now; everybody who shows some of it reads that anew. */
  async #read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      const { seq } = await this.list({ limit: 1 });
      this.#cursor = seq;
      this.#emit("reset");
    } catch {
      // The stream says in which state we are; without a cursor it begins at the feed's present.
      if (this.#cursor === null) this.#emit("reset");
    } finally {
      this.#reading = false;
      for (const message of this.#held.splice(0)) this.#told(message);
    }
  }

  #signal(signal: Signal): void {
    const key = JSON.stringify([signal.topic ?? null, signal.name]);
    this.#signals.delete(key);
    this.#signals.set(key, signal);
    if (this.#signals.size > 200) this.#signals.delete(this.#signals.keys().next().value!);
    this.#emit("signal", signal);
  }

  #wanted(): string[] {
    const all = [...this.#topics.keys(), ...[...this.#others.values()].flat()];
    return [...new Set(all)].sort();
  }

  #topicsChanged(): void {
    this.#tabs?.tell("hello", { topics: this.topics });
    this.#follow();
  }

  /** Opens the stream anew when it lacks a topic; one too many does no harm until it is opened anyway. */
  #follow(): void {
    if (this.#wanted().some((topic) => !this.#asked.includes(topic))) this.#stream?.reopen();
  }

  async #counted<T extends { counts: Counts }>(answer: Promise<T>): Promise<T> {
    const done = await answer;
    this.#count(done.counts);
    return done;
  }

  #count({ unread, unseen, seq }: Counts): void {
    if (seq < this.counts.seq) return;
    this.counts = { unread, unseen, seq };
    this.#emit("counts", this.counts);
  }

  #become(state: State): void {
    if (state === this.state) return;
    this.state = state;
    this.#emit("state", state);
  }

  #emit(name: string, detail?: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
