import type { Frame } from "./types.ts";

/**
 * Reads an event stream (WHATWG HTML, 9.2) piece by piece: a piece may end anywhere, within a line end too.
 * Comments are swallowed; `retry` is the last such value, in milliseconds.
 */
export class FrameReader {
  retry: number | null = null;
  #rest = "";
  #event = "";
  #id: string | null = null;
  #data: string[] = [];

  /** Takes the next piece and returns the frames that it completes. */
  take(piece: string): Frame[] {
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line) ?? []);
  }

  #line(line: string): Frame | null {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    return null;
  }

  #end(): Frame | null {
    const { event, id, data } = { event: this.#event || "message", id: this.#id, data: this.#data };
    this.#event = "";
    this.#id = null;
    this.#data = [];
    if (data.length === 0) return null;
    return { event, id: id === null ? null : Number(id), data: JSON.parse(data.join("\n")) };
  }
}
