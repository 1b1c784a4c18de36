/** Badge numbers as of feed sequence `seq`: a higher one replaces a lower one, they are never added up. */
export interface Counts {
  unread: number;
  unseen: number;
  seq: number;
}

export interface Item {
  id: string;
  seq: number;
  event_id: string;
  type: string;
  category: string;
  priority: "critical" | "normal" | "bulk";
  title: string;
  body: string;
  action_url: string | null;
  data: unknown;
  created_at: string;
  seen_at: string | null;
  read_at: string | null;
  archived_at: string | null;
  snoozed_until: string | null;
}

export type Filter = "all" | "unread" | "unseen" | "archived" | "snoozed";

export interface Page extends Counts {
  data: Item[];
  next_cursor: string | null;
}

export interface Query {
  filter?: Filter;
  category?: string;
  type?: string;
  cursor?: string;
  limit?: number;
}

export interface Change {
  read?: boolean;
  seen?: boolean;
  archived?: boolean;
  snoozed_until?: string | null;
}

/** What an `update` says of one item. */
export interface ItemState extends Partial<Item> {
  id: string;
  seq: number;
  deleted?: boolean;
}

/** One frame of the stream; `id` is the feed's sequence, null where a frame is not resumed after. */
export interface Frame {
  event: string;
  id: number | null;
  data: any;
}

export interface Signal {
  name: string;
  topic?: string;
  data: unknown;
}

/** `idle` before start and after close; `offline` while the stream is away. */
export type State = "idle" | "connecting" | "live" | "offline" | "refused";

export type Choice = Record<string, boolean>;

export interface Preferences {
  all?: Choice;
  categories?: Record<string, Choice>;
  types?: Record<string, Choice>;
  muted?: string[];
}

export interface PreferenceOptions {
  channels: string[];
  categories: { category: string; types: { type: string; channels: string[]; mandatory: boolean }[] }[];
  defaults: Preferences;
}

export interface QuietWindow {
  from: string;
  to: string;
  days: string[];
}

export interface QuietHours {
  windows: QuietWindow[];
  time_zone?: string | null;
}
