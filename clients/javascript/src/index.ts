import { CarillonInbox } from "./inbox.ts";
import { CarillonProgress } from "./progress.ts";

export { ApiError } from "./api.ts";
export { CarillonClient } from "./client.ts";
export { FrameReader } from "./frames.ts";
export { CarillonInbox, CarillonProgress };
export { addTexts } from "./texts.ts";
export type * from "./types.ts";

for (const [name, element] of [["carillon-inbox", CarillonInbox], ["carillon-progress", CarillonProgress]] as const) {
  if (!customElements.get(name)) customElements.define(name, element);
}
