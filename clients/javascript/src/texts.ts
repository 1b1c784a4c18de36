const en = {
  title: "Notifications",
  unread: "{n} unread",
  all: "All",
  unreadOnly: "Unread",
  archived: "Archived",
  snoozed: "Snoozed",
  show: "Show",
  readAll: "Mark all read",
  archiveRead: "Archive read ones",
  settings: "Settings",
  back: "Back",
  close: "Close",
  older: "Show older",
  loading: "Loading …",
  emptyAll: "Nothing here yet. What happens shows up by itself.",
  emptyUnread: "You have read everything.",
  emptyArchived: "Nothing is archived.",
  emptySnoozed: "Nothing is snoozed.",
  connecting: "Connecting …",
  live: "Live",
  offline: "Offline. What you see may be out of date.",
  refused: "Please sign in again.",
  failed: "That did not work: {reason}",
  retry: "Try again",
  isUnread: "Unread",
  urgent: "Urgent",
  read: "Mark read",
  unreadAgain: "Mark unread",
  archive: "Archive",
  unarchive: "Back to the inbox",
  snooze: "Snooze",
  wake: "Wake now",
  remove: "Delete",
  removeSure: "Delete for good?",
  cancel: "Cancel",
  hour: "1 hour",
  tomorrow: "Tomorrow morning",
  week: "Next week",
  until: "until {time}",
  actions: "Actions",
  many: "{n} new notifications",
  channels: "Where you hear of what",
  everything: "Everything",
  email: "E-mail",
  whatsapp: "WhatsApp",
  inapp: "Here",
  push: "Push",
  mandatory: "Always sent",
  someMandatory: "Some of these are always sent.",
  saved: "Saved",
  quiet: "Quiet hours",
  quietHint: "What is not urgent waits until they end.",
  from: "From",
  to: "to",
  days: "Days",
  addWindow: "Add quiet hours",
  removeWindow: "Remove these hours",
  zone: "Time zone: {zone}",
  muted: "Muted",
  unmute: "Hear of it again",
  progress: "Progress",
  done: "Done",
  jobFailed: "Failed",
  waiting: "Waiting …",
  topicRefused: "You may not follow this.",
  justNow: "just now",
  minutes: "{n} min ago",
  hours: "{n} h ago",
  yesterday: "yesterday",
  daysAgo: "{n} days ago",
  weekdays: "Mon Tue Wed Thu Fri Sat Sun",
};

export type Texts = typeof en;

const de: Texts = {
  title: "Mitteilungen",
  unread: "{n} ungelesen",
  all: "Alle",
  unreadOnly: "Ungelesen",
  archived: "Archiv",
  snoozed: "Später",
  show: "Anzeigen",
  readAll: "Alle gelesen",
  archiveRead: "Gelesene archivieren",
  settings: "Einstellungen",
  back: "Zurück",
  close: "Schließen",
  older: "Ältere zeigen",
  loading: "Wird geladen …",
  emptyAll: "Noch nichts da. Neues erscheint von selbst.",
  emptyUnread: "Sie haben alles gelesen.",
  emptyArchived: "Nichts ist archiviert.",
  emptySnoozed: "Nichts ist zurückgestellt.",
  connecting: "Verbindung wird aufgebaut …",
  live: "Verbunden",
  offline: "Offline. Was Sie sehen, kann veraltet sein.",
  refused: "Bitte melden Sie sich neu an.",
  failed: "Das hat nicht geklappt: {reason}",
  retry: "Erneut versuchen",
  isUnread: "Ungelesen",
  urgent: "Dringend",
  read: "Als gelesen markieren",
  unreadAgain: "Als ungelesen markieren",
  archive: "Archivieren",
  unarchive: "Zurück in den Eingang",
  snooze: "Zurückstellen",
  wake: "Jetzt zeigen",
  remove: "Löschen",
  removeSure: "Endgültig löschen?",
  cancel: "Abbrechen",
  hour: "1 Stunde",
  tomorrow: "Morgen früh",
  week: "Nächste Woche",
  until: "bis {time}",
  actions: "Aktionen",
  many: "{n} neue Mitteilungen",
  channels: "Was Sie wo erfahren",
  everything: "Alles",
  email: "E-Mail",
  whatsapp: "WhatsApp",
  inapp: "Hier",
  push: "Push",
  mandatory: "Wird immer gesendet",
  someMandatory: "Manches davon wird immer gesendet.",
  saved: "Gespeichert",
  quiet: "Ruhezeiten",
  quietHint: "Was nicht dringend ist, wartet bis zu ihrem Ende.",
  from: "Von",
  to: "bis",
  days: "Tage",
  addWindow: "Ruhezeit hinzufügen",
  removeWindow: "Diese Ruhezeit entfernen",
  zone: "Zeitzone: {zone}",
  muted: "Stummgeschaltet",
  unmute: "Wieder hören",
  progress: "Fortschritt",
  done: "Fertig",
  jobFailed: "Fehlgeschlagen",
  waiting: "Wartet …",
  topicRefused: "Das dürfen Sie nicht verfolgen.",
  justNow: "gerade eben",
  minutes: "vor {n} Min.",
  hours: "vor {n} Std.",
  yesterday: "gestern",
  daysAgo: "vor {n} Tagen",
  weekdays: "Mo Di Mi Do Fr Sa So",
};

const mn: Texts = {
  title: "Мэдэгдэл",
  unread: "{n} уншаагүй",
  all: "Бүгд",
  unreadOnly: "Уншаагүй",
  archived: "Архив",
  snoozed: "Хойшлуулсан",
  show: "Харуулах",
  readAll: "Бүгдийг уншсан болгох",
  archiveRead: "Уншсаныг архивлах",
  settings: "Тохиргоо",
  back: "Буцах",
  close: "Хаах",
  older: "Өмнөхийг харуулах",
  loading: "Ачаалж байна …",
  emptyAll: "Одоогоор юу ч алга. Шинэ мэдэгдэл өөрөө гарч ирнэ.",
  emptyUnread: "Та бүгдийг уншсан байна.",
  emptyArchived: "Архивт юу ч алга.",
  emptySnoozed: "Хойшлуулсан зүйл алга.",
  connecting: "Холбогдож байна …",
  live: "Холбогдсон",
  offline: "Холболтгүй. Харагдаж буй зүйл хуучирсан байж болно.",
  refused: "Дахин нэвтэрнэ үү.",
  failed: "Амжилтгүй боллоо: {reason}",
  retry: "Дахин оролдох",
  isUnread: "Уншаагүй",
  urgent: "Яаралтай",
  read: "Уншсан болгох",
  unreadAgain: "Уншаагүй болгох",
  archive: "Архивлах",
  unarchive: "Буцааж гаргах",
  snooze: "Хойшлуулах",
  wake: "Одоо харуулах",
  remove: "Устгах",
  removeSure: "Бүрмөсөн устгах уу?",
  cancel: "Болих",
  hour: "1 цаг",
  tomorrow: "Маргааш өглөө",
  week: "Ирэх долоо хоног",
  until: "{time} хүртэл",
  actions: "Үйлдэл",
  many: "{n} шинэ мэдэгдэл",
  channels: "Юуг хаанаас авах",
  everything: "Бүгд",
  email: "И-мэйл",
  whatsapp: "WhatsApp",
  inapp: "Энд",
  push: "Push",
  mandatory: "Үргэлж илгээнэ",
  someMandatory: "Зарим нь үргэлж илгээгдэнэ.",
  saved: "Хадгаллаа",
  quiet: "Чимээгүй цаг",
  quietHint: "Яаралтай биш нь дуустал нь хүлээнэ.",
  from: "Эхлэх",
  to: "дуусах",
  days: "Өдрүүд",
  addWindow: "Чимээгүй цаг нэмэх",
  removeWindow: "Энэ цагийг хасах",
  zone: "Цагийн бүс: {zone}",
  muted: "Дуугүй болгосон",
  unmute: "Дахин сонсох",
  progress: "Явц",
  done: "Дууслаа",
  jobFailed: "Амжилтгүй",
  waiting: "Хүлээж байна …",
  topicRefused: "Та үүнийг дагах эрхгүй.",
  justNow: "саяхан",
  minutes: "{n} минутын өмнө",
  hours: "{n} цагийн өмнө",
  yesterday: "өчигдөр",
  daysAgo: "{n} өдрийн өмнө",
  weekdays: "Да Мя Лх Пү Ба Бя Ня",
};

const known: Record<string, Texts> = { en, de, mn };

/** Adds a language, or replaces some words of one. */
export function addTexts(language: string, texts: Partial<Texts>): void {
  known[language] = { ...(known[language] ?? en), ...texts };
}

/** Words and forms of one language. */
export class Language {
  private readonly texts: Texts;

  constructor(readonly tag: string) {
    this.texts = known[tag] ?? known[tag.split("-")[0] ?? ""] ?? en;
  }

  say(key: keyof Texts, values: Record<string, string | number> = {}): string {
    return this.texts[key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
  }

  /** The channel's or category's name; the tenant's own words stay as they are. */
  name(key: string): string {
    return key in this.texts ? this.texts[key as keyof Texts] : key.charAt(0).toUpperCase() + key.slice(1);
  }

  /** "5 min ago"; after a week the date. */
  ago(time: string, now = Date.now()): string {
    const minutes = Math.max(0, (now - Date.parse(time)) / 60_000);
    const [hours, days] = [minutes / 60, minutes / 1440];
    if (minutes < 1) return this.say("justNow");
    if (hours < 1) return this.say("minutes", { n: Math.floor(minutes) });
    if (days < 1) return this.say("hours", { n: Math.floor(hours) });
    if (days < 2) return this.say("yesterday");
    return days < 7 ? this.say("daysAgo", { n: Math.floor(days) }) : this.moment(time, { dateStyle: "medium" });
  }

  /** Browsers do not know every language; numbers in the order of ISO 8601 are understood everywhere. */
  moment(time: string, form: Intl.DateTimeFormatOptions = { dateStyle: "long", timeStyle: "short" }): string {
    const known = Intl.DateTimeFormat.supportedLocalesOf(this.tag).length > 0;
    const numbers: Intl.DateTimeFormatOptions = form.timeStyle ? { dateStyle: "short", timeStyle: "short" } : { dateStyle: "short" };
    return new Intl.DateTimeFormat(known ? this.tag : "sv", known ? form : numbers).format(new Date(time));
  }

  number(value: number): string {
    return new Intl.NumberFormat(this.tag).format(value);
  }

  percent(value: number): string {
    return new Intl.NumberFormat(this.tag, { style: "percent" }).format(value / 100);
  }

  /** Monday is 0. */
  weekday(place: number): string {
    return this.say("weekdays").split(" ")[place] ?? "";
  }
}
