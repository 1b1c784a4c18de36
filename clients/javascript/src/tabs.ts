/** What tabs of one person tell each other. */
export type Told = { kind: string; tab: string; [name: string]: any };

export interface TabUser {
  /** This tab leads until the signal. */
  lead(signal: AbortSignal): Promise<void>;
  told(message: Told): void;
}

/**
 * Elects one tab of a browser (Web Locks) and lets all of them talk (BroadcastChannel). The lock ends with its tab,
 * however that ends. Where there is neither, as on pages without HTTPS, every tab leads itself.
 */
export class Tabs {
  readonly id = Math.random().toString(36).slice(2);
  #channel: BroadcastChannel | null = null;
  #end = new AbortController();

  constructor(
    private readonly name: string | null,
    private readonly user: TabUser,
  ) {}

  start(): void {
    const locks = navigator.locks as LockManager | undefined; // not where there is no HTTPS
    if (this.name === null || !locks || !("BroadcastChannel" in globalThis)) {
      void this.user.lead(this.#end.signal);
      return;
    }
    const name = `carillon:${this.name}`;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = (event) => this.user.told(event.data as Told);
    locks
      .request(name, { signal: this.#end.signal }, () => this.user.lead(this.#end.signal))
      .catch(() => undefined); // closed while it waited
  }

  tell(kind: string, content: object = {}): void {
    this.#channel?.postMessage({ kind, tab: this.id, ...content });
  }

  close(): void {
    this.tell("bye");
    this.#end.abort();
    this.#channel?.close();
    this.#channel = null;
  }
}
