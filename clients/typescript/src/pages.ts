export interface Page<T> {
  readonly items: readonly T[];
  readonly next_cursor: string | null;
}

/** A listing: its items one after the other, page by page, or one page by its cursor. */
export class Pages<T> implements AsyncIterable<T> {
  constructor(readonly page: (cursor?: string) => Promise<Page<T>>) {}

  async *pages(): AsyncGenerator<Page<T>, void> {
    let page = await this.page();
    yield page;
    while (page.next_cursor !== null) {
      page = await this.page(page.next_cursor);
      yield page;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    for await (const { items } of this.pages()) yield* items;
  }
}
