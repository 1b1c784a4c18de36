import type { Filter, Frame, Item, ItemState, Page } from "./types.ts";

function matches(item: Partial<Item>, filter: Filter): boolean {
  if (filter === "archived") return !!item.archived_at;
  if (filter === "snoozed") return !!item.snoozed_until;
  if (item.archived_at || item.snoozed_until) return false;
  return filter === "all" || !(filter === "unread" ? item.read_at : item.seen_at);
}

/** The part of a feed that is shown, as its pages and the changes since make it. */
export class Feed {
  next: string | null = null;
  loaded = false;
  #items = new Map<string, Item>();

  constructor(readonly filter: Filter) {}

  /** Newest first: ids begin with the time. */
  get items(): Item[] {
    return [...this.#items.values()].sort((one, other) => (one.id < other.id ? 1 : -1));
  }

  get size(): number {
    return this.#items.size;
  }

  replace(page: Page): void {
    this.#items.clear();
    this.append(page);
  }

  append(page: Page): void {
    for (const item of page.data) this.put(item);
    this.next = page.next_cursor;
    this.loaded = true;
  }

  /** Keeps an item unless a newer state of it is known; one that does not belong here any more goes. */
  put(item: Item): void {
    const known = this.#items.get(item.id);
    if (known && known.seq > item.seq) return;
    if (matches(item, this.filter)) this.#items.set(item.id, item);
    else this.#items.delete(item.id);
  }

  drop(id: string): void {
    this.#items.delete(id);
  }

  /** Applies a change; false when it concerns items that belong here and whose content is not known. */
  apply({ event, id, data }: Frame): boolean {
    if (event === "notification") this.put(data.item);
    if (data.all) this.#mark(data.all, id ?? 0);
    let whole = true;
    for (const state of (data.items ?? []) as ItemState[]) whole = this.#update(state) && whole;
    return whole;
  }

  /** Marks all, as a marker with this number does: what has changed after it knows better. */
  mark(what: "read" | "seen", seq: number): void {
    this.#mark({ [what]: true }, seq);
  }

  #mark(what: { read?: boolean; seen?: boolean }, seq: number): void {
    const now = new Date().toISOString();
    for (const item of [...this.#items.values()]) {
      if (item.seq > seq) continue;
      const read_at = item.read_at ?? (what.read ? now : null);
      this.put({ ...item, seen_at: item.seen_at ?? now, read_at });
    }
  }

  #update(state: ItemState): boolean {
    if (state.deleted) {
      this.drop(state.id);
      return true;
    }
    const known = this.#items.get(state.id);
    if (known) {
      if (known.seq <= state.seq) this.put({ ...known, ...state });
      return true;
    }
    const oldest = this.items.at(-1);
    const withinReach = !this.next || !oldest || state.id > oldest.id;
    return !(withinReach && matches(state, this.filter));
  }
}
