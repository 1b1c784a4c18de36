import type { CarillonClient } from "./client.ts";
import { type Child, h, iconButton, set, textButton } from "./dom.ts";
import type { Language } from "./texts.ts";
import type { PreferenceOptions, Preferences, QuietHours, QuietWindow } from "./types.ts";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const NIGHT: QuietWindow = { from: "22:00", to: "07:00", days: DAYS };
type Category = PreferenceOptions["categories"][number];

/** Preferences by category and channel, and quiet hours. Each change is saved at once, one after the other. */
export class SettingsView {
  readonly element = h("div", { class: "scroll settings" });
  readonly #status = h("p", { role: "status", class: "meta" });
  #options: PreferenceOptions = { channels: [], categories: [], defaults: {} };
  #chosen: Preferences = {};
  #quiet: QuietHours | null = null;
  #saving: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly client: CarillonClient,
    private readonly language: Language,
  ) {}

  async load(): Promise<void> {
    this.element.replaceChildren(h("p", {}, this.language.say("loading")));
    try {
      [this.#options, this.#chosen, this.#quiet] = await Promise.all([
        this.client.options(),
        this.client.preferences(),
        this.client.quietHours(),
      ]);
      this.#draw();
    } catch (error) {
      const text = this.language.say("failed", { reason: (error as Error).message });
      const retry = textButton(this.language.say("retry"), () => this.load());
      this.element.replaceChildren(h("p", { class: "problem", role: "alert" }, text, " ", retry));
    }
  }

  #draw(): void {
    const say = this.language.say.bind(this.language);
    const rows = [this.#row(null), ...this.#options.categories.map((category) => this.#row(category))];
    const heads = this.#options.channels.map((channel) => h("th", { scope: "col" }, this.language.name(channel)));
    const corner = h("td", {});
    this.element.replaceChildren(
      h(
        "section",
        {},
        h("h3", {}, say("channels")),
        h("table", {}, h("thead", {}, h("tr", {}, corner, ...heads)), h("tbody", {}, ...rows)),
      ),
      h("section", { class: "quiet" }, h("h3", {}, say("quiet")), h("p", {}, h("small", {}, say("quietHint"))), ...this.#windows()),
      this.#muted(),
      this.#status,
    );
  }

  #muted(): HTMLElement {
    const rows = (this.#chosen.muted ?? []).map((topic) => {
      const unmute = textButton(this.language.say("unmute"), () => {
        this.#chosen.muted = this.#chosen.muted?.filter((each) => each !== topic) ?? [];
        this.#save(() => this.client.unmute(topic));
        this.#redraw();
      });
      set(unmute, { "aria-label": `${this.language.say("unmute")}, ${topic}` });
      return h("li", { class: "muted" }, h("span", { dir: "auto" }, topic), unmute);
    });
    return h("section", { hidden: rows.length === 0 }, h("h3", {}, this.language.say("muted")), h("ul", {}, ...rows));
  }

  /** The row of a category, or of everything. */
  #row(category: Category | null): HTMLElement {
    const say = this.language.say.bind(this.language);
    const name = category ? this.language.name(category.category) : say("everything");
    const mandatory = category?.types.filter((type) => type.mandatory).length ?? 0;
    const locked = category !== null && mandatory === category.types.length;
    const note = locked ? say("mandatory") : mandatory > 0 && say("someMandatory");
    const cells = this.#options.channels.map((channel) => {
      const offered = !category || category.types.some((type) => type.channels.includes(channel));
      return h("td", {}, offered && this.#box(`${name}, ${this.language.name(channel)}`, category, channel, locked));
    });
    return h("tr", {}, h("th", { scope: "row" }, name, note && h("small", {}, note)), ...cells);
  }

  #box(label: string, category: Category | null, channel: string, locked: boolean): HTMLElement {
    const box = h("input", { type: "checkbox", "aria-label": label, disabled: locked });
    box.checked = locked || this.#wants(category?.category, channel);
    box.addEventListener("change", () => this.#choose(category?.category, channel, box.checked));
    return box;
  }

  /** The most specific choice wins, the person's before the tenant's; silence means yes. */
  #wants(category: string | undefined, channel: string): boolean {
    for (const document of [this.#chosen, this.#options.defaults]) {
      const found = (category && document.categories?.[category]?.[channel]) ?? document.all?.[channel];
      if (typeof found === "boolean") return found;
    }
    return true;
  }

  #choose(category: string | undefined, channel: string, wanted: boolean): void {
    if (category) {
      const categories = (this.#chosen.categories ??= {});
      categories[category] = { ...categories[category], [channel]: wanted };
    } else {
      this.#chosen.all = { ...this.#chosen.all, [channel]: wanted };
    }
    // Quiet hours have a call of their own.
    const { all = {}, categories = {}, types = {} } = this.#chosen;
    this.#save(() => this.client.setPreferences({ all, categories, types }));
    if (!category) this.#redraw();
  }

  #windows(): Child[] {
    const say = this.language.say.bind(this.language);
    const windows = this.#quiet?.windows ?? [];
    const zone = this.#quiet?.time_zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    const add = textButton(say("addWindow"), () => {
      this.#setWindows([...windows, { ...NIGHT }]);
      this.#redraw();
    });
    return [
      ...windows.map((window, place) => this.#window(window, place)),
      windows.length > 0 && h("small", {}, say("zone", { zone })),
      add,
    ];
  }

  #window(window: QuietWindow, place: number): HTMLElement {
    const say = this.language.say.bind(this.language);
    const others = () => (this.#quiet?.windows ?? []).filter((_, n) => n !== place);
    const change = (part: Partial<QuietWindow>) => {
      const windows = [...(this.#quiet?.windows ?? [])];
      windows[place] = Object.assign(window, part);
      this.#setWindows(windows);
    };
    const time = (name: "from" | "to") => {
      const input = h("input", { type: "time", required: true });
      input.value = window[name] === "24:00" ? "00:00" : window[name];
      input.addEventListener("change", () => input.value && change({ [name]: input.value }));
      return h("label", {}, `${say(name)} `, input);
    };
    const days = DAYS.map((day, number) => {
      const box = h("input", { type: "checkbox" });
      box.checked = window.days.includes(day);
      box.addEventListener("change", () => {
        const days = DAYS.filter((each) => (each === day ? box.checked : window.days.includes(each)));
        if (days.length) change({ days });
        else box.checked = true;
      });
      return h("label", {}, box, this.language.weekday(number));
    });
    const remove = iconButton("remove", say("removeWindow"), () => {
      this.#setWindows(others());
      this.#redraw();
    });
    return h(
      "fieldset",
      {},
      h("legend", { class: "quietly" }, say("quiet")),
      h("div", { class: "times" }, time("from"), time("to"), remove),
      h("div", { class: "weekdays", role: "group", "aria-label": say("days") }, ...days),
    );
  }

  #setWindows(windows: QuietWindow[]): void {
    const time_zone = this.#quiet?.time_zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    const hours = (this.#quiet = windows.length ? { windows, time_zone } : null);
    this.#save(() => this.client.setQuietHours(hours));
  }

  /** Draws again with the focus on the same control, or on the last one when it is gone. */
  #redraw(): void {
    const controls = () => [...this.element.querySelectorAll<HTMLElement>("input, button")];
    const at = controls().indexOf((this.element.getRootNode() as ShadowRoot).activeElement as HTMLElement);
    this.#draw();
    if (at >= 0) (controls()[at] ?? controls().at(-1))?.focus();
  }

  #save(run: () => Promise<unknown>): void {
    this.#status.textContent = "";
    this.#saving = this.#saving.then(run).then(
      () => {
        this.#status.textContent = this.language.say("saved");
      },
      (error: Error) => {
        this.#status.textContent = this.language.say("failed", { reason: error.message });
      },
    );
  }
}
