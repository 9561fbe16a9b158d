export interface Page<T> {
  readonly items: readonly T[];
  readonly next_cursor: string | null;
}

/** A listing: its items one after the other, page by page, or one page by its cursor. */
export class Pages<T> implements AsyncIterable<T> {
  constructor(readonly page: (cursor?: string) => Promise<Page<T>>) {}

  async *pages(): AsyncGenerator<Page<T>, void> {
    for (let next: string | null | undefined; next !== null; ) {
      const page = await this.page(next);
      yield page;
      next = page.next_cursor;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    for await (const { items } of this.pages()) yield* items;
  }
}
