/**
 * What an engine must know again after its death: plain records, in their order. A record is there for the next life when
 * `append` has returned (the kernel has it; a host that loses its power may lose the last ones, and then all behind the first
 * one that is lost). Records are small; bytes of files are elsewhere.
 */
export interface StateLog {
  /** At once, by one write(2). Errors: ENOSPC and others of the disk, as Errno. */
  append(...records: readonly StateRecord[]): void;
  /** On the disk, whatever happens to the host. */
  sync(): Promise<void>;
  /** Begins a new log with these, by which the old one is replaced as a whole. */
  compact(records: Iterable<StateRecord>): void;
  /** Bytes of records since the last compaction. */
  readonly length: number;
  close(): void;
}

/** `of` names whose record it is, such as `node`, `open`, `staged`: each part of the engine reads its own. */
export interface StateRecord {
  readonly of: string;
  readonly [field: string]:
    | string
    | number
    | boolean
    | null
    | readonly (string | number)[]
    | Readonly<Record<string, string>>;
}
