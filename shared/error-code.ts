/** The code that Node or the system gives an error, such as `ENOENT`; undefined for errors without one. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
