/** Returns a fresh subscriber token; asked for one at the start and whenever the last one is refused. */
export type TokenSource = () => Promise<string> | string;

/** The API's answer was no success; `status` 0 when there was none. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** Whom a token (RFC 7519) is for, as a name that is the same in every tab; null when it cannot be read. */
export function bearer(token: string): string | null {
  try {
    const [, payload = ""] = token.split(".");
    const bytes = atob(payload.replace(/-/g, "+").replace(/_/g, "/"));
    const claims = JSON.parse(decodeURIComponent(escape(bytes)));
    return claims.sub ? `${claims.tid}/${claims.sub}` : null;
  } catch {
    return null;
  }
}

/** Calls with a token, which is renewed once when the server refuses it. */
export class Api {
  #token: Promise<string> | null = null;

  constructor(
    readonly url: string,
    private readonly source: TokenSource,
  ) {}

  /** The current token, asked for if there is none. */
  token(): Promise<string> {
    const asked = (this.#token ??= Promise.resolve().then(() => this.source()));
    asked.catch(() => {
      if (this.#token === asked) this.#token = null;
    });
    return asked;
  }

  /** Calls and returns the successful answer. Throws `ApiError`. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const token = await this.token().catch((error) => {
      throw new ApiError(401, String(error));
    });
    const answer = await this.#send(path, init, token);
    if (answer.status !== 401) return this.#checked(answer);
    // Only the first of several calls whose token has expired asks for another.
    if (token === (await this.#token?.catch(() => null))) this.#token = null;
    const renewed = await this.token();
    return this.#checked(renewed === token ? answer : await this.#send(path, init, renewed));
  }

  /** Calls with a JSON body, if there is one, and returns the JSON of the answer. Throws `ApiError`. */
  async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const init: RequestInit = { method };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { "content-type": "application/json" };
    }
    const answer = await this.fetch(path, init);
    return (answer.status === 204 ? null : await answer.json()) as T;
  }

  async #send(path: string, init: RequestInit, token: string): Promise<Response> {
    const headers = { ...(init.headers as Record<string, string>), authorization: `Bearer ${token}` };
    try {
      return await fetch(this.url + path, { ...init, headers, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new ApiError(0, String(error));
    }
  }

  async #checked(answer: Response): Promise<Response> {
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    const after = Number.parseFloat(answer.headers.get("retry-after") ?? "");
    throw new ApiError(answer.status, problem.detail ?? problem.title ?? `HTTP ${answer.status}`, after || null);
  }
}
