import { type Api, ApiError } from "./api.ts";
import { FrameReader } from "./frames.ts";
import type { Frame, State } from "./types.ts";

/** The server pings every 15 s; without a byte for so long the connection is dead, whatever the browser says. */
const SILENT_MS = 40_000;
const LONGEST_WAIT_MS = 30_000;
const REOPENED = "reopened";

export interface StreamUser {
  /** After which change the stream goes on. */
  cursor(): number | null;
  topics(): string[];
  frame(frame: Frame): void;
  state(state: State): void;
  /** The topics were refused (403): the feed goes on without them. */
  topicsRefused(): void;
}

/** Keeps one stream open until the signal: resumes, backs off, and asks for a new token when the old one ends. */
export class Stream {
  #failures = 0;
  #withTopics = true;
  #wake: (() => void) | null = null;
  #connection: AbortController | null = null;

  constructor(
    private readonly api: Api,
    private readonly user: StreamUser,
    private readonly signal: AbortSignal,
  ) {}

  async run(): Promise<void> {
    const online = () => this.#wake?.();
    const offline = () => this.#connection?.abort();
    addEventListener("online", online);
    addEventListener("offline", offline);
    try {
      while (!this.signal.aborted) await this.#sleep(await this.#once());
    } finally {
      removeEventListener("online", online);
      removeEventListener("offline", offline);
    }
  }

  /** Opens it anew, because what is asked for has changed. */
  reopen(): void {
    this.#withTopics = true;
    this.#connection?.abort(REOPENED);
    this.#wake?.();
  }

  /** Reads one connection to its end; returns how many milliseconds to wait before the next. */
  async #once(): Promise<number> {
    const connection = (this.#connection = new AbortController());
    const stop = () => connection.abort();
    this.signal.addEventListener("abort", stop);
    const reader = new FrameReader();
    let state: State = "connecting";
    let after: number | null = null;
    try {
      await this.#read(await this.#open(connection.signal), reader, connection);
      this.#failures = 0;
    } catch (error) {
      if (!connection.signal.aborted || this.#failures) state = this.#failed(error);
      if (error instanceof ApiError && error.retryAfter) after = spread(error.retryAfter * 1000);
    } finally {
      this.signal.removeEventListener("abort", stop);
    }
    if (this.signal.aborted || connection.signal.reason === REOPENED) return 0;
    this.user.state(state);
    // A clean end says itself when to come back, each client at another time.
    return after ?? reader.retry ?? spread(Math.min(LONGEST_WAIT_MS, 500 * 2 ** this.#failures));
  }

  #open(signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    const cursor = this.user.cursor();
    if (cursor !== null) headers["last-event-id"] = String(cursor);
    const topics = this.#withTopics ? this.user.topics() : [];
    const query = topics.length ? `?${new URLSearchParams({ topics: topics.join(",") })}` : "";
    return this.api.fetch(`/v1/inbox/stream${query}`, { headers, signal });
  }

  async #read(answer: Response, reader: FrameReader, connection: AbortController): Promise<void> {
    const body = answer.body!.getReader();
    const text = new TextDecoder();
    let timer = 0;
    const watch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => connection.abort(), SILENT_MS) as unknown as number;
    };
    try {
      for (;;) {
        watch();
        const { done, value } = await body.read();
        if (done) return;
        for (const frame of reader.take(text.decode(value, { stream: true }))) this.#take(frame);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #take(frame: Frame): void {
    if (frame.event === "ready") {
      this.#failures = 0;
      this.user.state("live");
    }
    this.user.frame(frame);
  }

  /** Notes a failure and returns what it means to a person. */
  #failed(error: unknown): State {
    this.#failures += 1;
    const status = error instanceof ApiError ? error.status : 0;
    if (status === 403 && this.#withTopics && this.user.topics().length) {
      this.#withTopics = false;
      this.#failures = 0;
      this.user.topicsRefused();
      return "connecting";
    }
    if (![401, 403, 404].includes(status)) return "offline";
    this.#failures = 8; // asking again soon would change nothing
    return "refused";
  }

  #sleep(milliseconds: number): Promise<void> {
    if (this.signal.aborted || milliseconds <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.signal.removeEventListener("abort", done);
        this.#wake = null;
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.signal.addEventListener("abort", done);
      this.#wake = done;
    });
  }
}

function spread(milliseconds: number): number {
  return milliseconds * (0.5 + Math.random() / 2);
}
