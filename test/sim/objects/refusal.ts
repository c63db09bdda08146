/** A refusal in the store's own words. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  /** Further elements of the error's XML. */
  readonly elements: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    elements: Readonly<Record<string, string>> = {},
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = 'Refusal';
    this.status = status;
    this.code = code;
    this.elements = elements;
    this.headers = headers;
  }
}
