import type { Description } from './content.ts';
import type { World } from './content-world.ts';
import { partSpan } from './parts-plan.ts';
import { PartsUpload } from './parts-upload.ts';
import { newToken } from './uploader.ts';
import { Patience } from './uploader-patience.ts';

const PARTS_AT_ONCE = 8;

/** A file that is being written from its beginning on. */
export interface EarlyFreight {
  readonly node: number;
  /** Up to here it was written, without a gap. */
  written(): number;
  describe(): Description;
  begun(upload: PartsUpload): void;
  read(offset: number, into: Buffer): Promise<void>;
}

/**
 * Uploads parts of a long file while it is being written, so that little is left to do when it is closed. What fails here is
 * done again then, and told then.
 */
export class EarlyUpload {
  readonly #world: World;
  readonly #freight: EarlyFreight;
  readonly #patience: Patience;
  #upload: PartsUpload | undefined;
  #next = 1;
  #active = 0;
  #over = false;
  /** When it has begun, or failed. */
  readonly begun: Promise<void>;

  constructor(world: World, freight: EarlyFreight, key: string) {
    this.#world = world;
    this.#freight = freight;
    this.#patience = new Patience(world);
    const scope = { copies: false, layers: 1 };
    this.begun = PartsUpload.begin(
      world,
      freight.node,
      key,
      newToken(),
      freight.describe(),
      this.#patience,
      scope,
    ).then(
      (upload) => {
        this.#upload = upload;
        freight.begun(upload);
        this.pump();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /** Uploads what has been written. Called after each write: cheap when there is nothing to do. */
  pump(): void {
    const upload = this.#upload;
    if (upload === undefined) return;
    while (!this.#over && !upload.over && this.#active < PARTS_AT_ONCE) {
      const span = partSpan(this.#next, this.#world.sizes);
      if (span.end > this.#freight.written()) return;
      const part = { number: this.#next, ...span, how: 'upload' as const };
      this.#next += 1;
      this.#active += 1;
      upload
        .upload(part, (into) => this.#freight.read(part.start, into), this.#patience)
        .catch((error: unknown) => this.#fail(error))
        .finally(() => {
          this.#active -= 1;
          this.pump();
        });
    }
  }

  /** Nothing more is begun. */
  stop(): void {
    this.#over = true;
  }

  #fail(error: unknown): void {
    this.#over = true;
    this.#world.logger.debug('a file could not be uploaded while it was written', { error });
  }
}
