/**
 * What an engine must know again after its death: plain records, in their order. A record is there for the next life when
 * `append` has returned (the kernel has it; a host that loses its power may lose the last ones, and then all behind the first
 * one that is lost). Records are small; bytes of files are elsewhere.
 */
export interface StateLog {
  /**
   * What earlier lives have left of these kinds (`of`), in its order; to be asked at the start, before anything is appended.
   * A torn end was cut off.
   */
  left(...kinds: readonly string[]): readonly StateRecord[];
  /**
   * Each part of the engine says once how it would write down what it knows now. When the log has become long, it is begun
   * anew with what all parts say: in a turn of its own (setImmediate), so that a part may change what it remembers right
   * after `append`, in the same turn.
   */
  keeps(part: () => Iterable<StateRecord>): void;
  /** At once, by one write(2). Errors: ENOSPC and others of the disk, as Errno. */
  append(...records: readonly StateRecord[]): void;
  /** On the disk, whatever happens to the host. */
  sync(): Promise<void>;
  /** Begins a new log with what the parts keep, by which the old one is replaced as a whole. Done by itself when it is due. */
  compact(): void;
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
