import type { CarillonClient } from "./client.ts";
import { type Child, h, icon, set, textButton } from "./dom.ts";
import { Feed } from "./feed.ts";
import { Row, type RowUser } from "./row.ts";
import type { Language } from "./texts.ts";
import type { Change, Filter, Frame, Item } from "./types.ts";

const PAGE = 20;
const MOST_UNSEEN = 300; // items kept in a list that nobody looks at
const DRAW_MS = 30; // changes that come together are drawn together
const FILTERS = { all: "all", unread: "unreadOnly", archived: "archived", snoozed: "snoozed" } as const;
const EMPTY = { all: "emptyAll", unread: "emptyUnread", unseen: "emptyUnread", archived: "emptyArchived", snoozed: "emptySnoozed" } as const;

/** The list with its filters: pages as one scrolls, changes as they come. */
export class ListView implements RowUser {
  readonly element: HTMLElement;
  #feed = new Feed("all");
  #rows = new Map<string, Row>();
  #loading = false;
  #again = false;
  #drawing: number | undefined;
  #meanwhile: Frame[] = []; // what came while a page was read, which may be older
  readonly #list = h("ul", { "aria-label": "", onkeydown: (event) => this.#move(event as KeyboardEvent) });
  readonly #filters = h("div", { class: "filters", role: "group" });
  readonly #problem = h("p", { class: "problem", role: "alert", hidden: true });
  readonly #empty = h("div", { class: "empty", hidden: true });
  readonly #more: HTMLButtonElement;
  readonly #readAll: HTMLButtonElement;
  readonly #watch: IntersectionObserver;

  constructor(
    readonly client: CarillonClient,
    readonly language: Language,
    private readonly opened: (item: Item) => boolean,
    private readonly announce: (text: string) => void,
  ) {
    const say = language.say.bind(language);
    this.#more = h("button", { type: "button", class: "more", hidden: true, onclick: () => this.#load() }, say("older"));
    this.#readAll = textButton(say("readAll"), () => this.#all("read-all"));
    const archive = textButton(say("archiveRead"), () => this.#all("archive-read"));
    const scroll = h("div", { class: "scroll" }, this.#problem, this.#list, this.#empty, this.#more);
    const tools = h("div", { class: "tools" }, this.#readAll, archive);
    this.element = h("div", { class: "view" }, this.#filters, scroll, tools);
    set(this.#list, { "aria-label": say("title") });
    set(this.#filters, { "aria-label": say("show") });
    this.#watch = new IntersectionObserver(([seen]) => seen?.isIntersecting && this.#load(), { root: scroll, rootMargin: "200px" });
    this.#watch.observe(this.#more);
    this.#drawFilters();
    this.count();
  }

  close(): void {
    clearTimeout(this.#drawing);
    this.#watch.disconnect();
  }

  /** Reads the first page anew; what is shown stays until it is there. */
  async reload(): Promise<void> {
    if (this.#loading) {
      this.#again = true;
      return;
    }
    const feed = this.#feed;
    const limit = Math.min(200, Math.max(PAGE, feed.items.length));
    await this.#reading(async () => {
      const page = await this.client.list({ filter: feed.filter, limit });
      feed.replace(page);
    });
  }

  apply(frame: Frame): void {
    if (this.#loading) this.#meanwhile.push(frame);
    if (!this.#feed.apply(frame)) void this.reload();
    this.#drawing ??= setTimeout(() => this.#draw(), DRAW_MS) as unknown as number;
  }

  /** Begins anew when much has come while nobody looked. */
  #forget(): boolean {
    if (this.#loading || this.#feed.size <= MOST_UNSEEN || this.element.getClientRects().length > 0) return false;
    this.#show(this.#feed.filter);
    return true;
  }

  count(): void {
    this.#readAll.disabled = this.client.counts.unread === 0;
  }

  tick(): void {
    for (const row of this.#rows.values()) row.tick();
  }

  /** Puts the focus where reading begins. */
  focus(): void {
    const first = this.#list.firstElementChild as HTMLElement | null;
    (first ?? this.#filters.querySelector("button"))?.focus({ preventScroll: true });
  }

  open(item: Item): boolean {
    return this.opened(item);
  }

  change(item: Item, change: Change): void {
    void this.#do(item, async () => {
      const { item: changed } = await this.client.change(item.id, change);
      this.#feed.put(changed);
    });
  }

  remove(item: Item): void {
    void this.#do(item, async () => {
      await this.client.remove(item.id);
      this.#feed.drop(item.id);
    });
  }

  async #do(item: Item, run: () => Promise<void>): Promise<void> {
    const element = this.#rows.get(item.id)?.element;
    const next = (element?.nextElementSibling ?? element?.previousElementSibling) as HTMLElement | null;
    const hadFocus = element?.contains((element.getRootNode() as ShadowRoot).activeElement);
    try {
      await run();
      this.#trouble(null);
    } catch (error) {
      this.#trouble(error);
    }
    this.#draw();
    // What left the list takes nobody's place with it.
    if (hadFocus && !element?.isConnected) next?.isConnected ? next.focus() : this.focus();
  }

  async #all(what: "read-all" | "archive-read"): Promise<void> {
    try {
      const { counts } = await this.client.all(what);
      if (what === "read-all") this.#feed.mark("read", counts.seq);
      else await this.reload();
      this.#trouble(null);
    } catch (error) {
      this.#trouble(error);
    }
    this.#draw();
  }

  async #load(): Promise<void> {
    const feed = this.#feed;
    if (this.#loading || !feed.next) return;
    const cursor = feed.next;
    await this.#reading(async () => feed.append(await this.client.list({ filter: feed.filter, limit: PAGE, cursor })));
  }

  async #reading(read: () => Promise<void>): Promise<void> {
    this.#loading = true;
    set(this.#list, { "aria-busy": "true" });
    if (!this.#feed.loaded) this.#showEmpty(this.language.say("loading"));
    try {
      await read();
      for (const frame of this.#meanwhile) this.#again = !this.#feed.apply(frame) || this.#again;
      this.#trouble(null);
    } catch (error) {
      this.#trouble(error, () => this.reload());
    } finally {
      this.#loading = false;
      this.#meanwhile = [];
      set(this.#list, { "aria-busy": null });
    }
    this.#draw();
    this.#watch.unobserve(this.#more); // which may still be in sight, and is told of only when that changes
    this.#watch.observe(this.#more);
    if (!this.#again) return;
    this.#again = false;
    await this.reload();
  }

  #show(filter: Filter): void {
    this.#feed = new Feed(filter);
    this.#drawFilters();
    this.#draw();
    void this.reload().then(() => this.announce(this.#empty.hidden ? "" : (this.#empty.textContent ?? "")));
  }

  #drawFilters(): void {
    const focused = this.#filters.contains((this.#filters.getRootNode() as ShadowRoot).activeElement ?? null);
    const buttons = (Object.keys(FILTERS) as (keyof typeof FILTERS)[]).map((filter) => {
      const pressed = filter === this.#feed.filter;
      return h("button", { type: "button", "aria-pressed": String(pressed), onclick: () => this.#show(filter) }, this.language.say(FILTERS[filter]));
    });
    this.#filters.replaceChildren(...buttons);
    if (focused) this.#filters.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
  }

  #draw(): void {
    clearTimeout(this.#drawing);
    this.#drawing = undefined;
    if (this.#forget()) return;
    const items = this.#feed.items;
    const ids = new Set(items.map((item) => item.id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    let place = this.#list.firstChild;
    for (const item of items) {
      const row = this.#rows.get(item.id) ?? new Row(item, this);
      this.#rows.set(item.id, row);
      row.update(item);
      if (row.element === place) place = place.nextSibling;
      else this.#list.insertBefore(row.element, place);
    }
    this.#more.hidden = !this.#feed.next;
    this.#list.hidden = items.length === 0;
    this.#rove();
    if (items.length || this.#feed.next) this.#empty.hidden = true;
    else if (!this.#feed.loaded) return;
    else this.#showEmpty(this.language.say(EMPTY[this.#feed.filter]), icon("bell"));
  }

  #showEmpty(text: string, ...before: Child[]): void {
    this.#empty.replaceChildren(h("div", {}, ...before, text));
    this.#empty.hidden = false;
  }

  #trouble(error: unknown, again?: () => void): void {
    this.#problem.hidden = !error;
    if (!error) return;
    const reason = error instanceof Error ? error.message : String(error);
    this.#problem.replaceChildren(this.language.say("failed", { reason }));
    if (again) this.#problem.append(" ", textButton(this.language.say("retry"), again));
  }

  /** One item at a time is reached by Tab; arrows lead to the others. */
  #rove(): void {
    const rows = [...this.#list.children] as HTMLElement[];
    if (rows.some((row) => row.tabIndex === 0)) return;
    if (rows[0]) rows[0].tabIndex = 0;
  }

  #move(event: KeyboardEvent): void {
    const rows = [...this.#list.children] as HTMLElement[];
    const at = rows.findIndex((row) => row.contains(event.target as Node));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    const next = to === undefined ? undefined : rows[to];
    if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    for (const row of rows) row.tabIndex = row === next ? 0 : -1;
    next.focus();
  }
}
