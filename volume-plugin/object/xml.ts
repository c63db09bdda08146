/** What stores answer, as far as XML is used there: elements and text. No DTD, no entities but the five and numbers. */
export interface XmlElement {
  /** Without its namespace's prefix. */
  readonly name: string;
  readonly children: readonly XmlElement[];
  /** Its own, with spaces. */
  readonly text: string;
}

interface Open {
  readonly name: string;
  readonly children: XmlElement[];
  text: string;
}

const DEEPEST = 32;
const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };
const NAME = /^\/?(?:[\w.-]+:)?([\w.-]+)/;

/** Thrown for what is no XML, or XML that stores have no use for. */
export class XmlError extends Error {
  override readonly name = 'XmlError';
}

const decoded = (text: string): string => {
  if (!text.includes('&')) return text;
  return text.replace(/&([^;&\s]{1,12});|&/g, (whole, name?: string) => {
    const known = name === undefined ? undefined : (ENTITIES[name] ?? numbered(name));
    if (known === undefined) throw new XmlError(`${whole} is not known`);
    return known;
  });
};

const numbered = (name: string): string | undefined => {
  const found = /^#(?:x([0-9a-f]{1,6})|(\d{1,7}))$/i.exec(name);
  if (found === null) return undefined;
  const code = found[1] === undefined ? Number(found[2]) : Number.parseInt(found[1], 16);
  return code <= 0x10ffff ? String.fromCodePoint(code) : undefined;
};

interface Tag {
  readonly name: string;
  readonly kind: 'open' | 'close' | 'empty';
}

/** Listings have the same few tags thousands of times: each is looked at once. */
class Tags {
  readonly #known = new Map<string, Tag>();

  /** The tag that begins there, and where it ends. `near`: the first `>`. */
  at(document: string, begin: number, near: number): readonly [Tag, number] {
    const text = document.slice(begin + 1, near < 0 ? undefined : near);
    const known = this.#known.get(text);
    if (known !== undefined && near >= 0) return [known, near];
    const end = tagEnd(document, begin + 1);
    const whole = document.slice(begin + 1, end);
    const name = NAME.exec(whole)?.[1];
    if (name === undefined) throw new XmlError(`<${whole.slice(0, 40)}> is no tag`);
    const tag: Tag = { name, kind: whole.startsWith('/') ? 'close' : whole.endsWith('/') ? 'empty' : 'open' };
    if (end === near) this.#known.set(text, tag);
    return [tag, end];
  }
}

/** The root element of a document. Throws XmlError. */
export const parseXml = (document: string): XmlElement => {
  const above: Open[] = [];
  let current: Open = { name: '', children: [], text: '' };
  const tags = new Tags();
  let at = 0;
  for (;;) {
    const begin = document.indexOf('<', at);
    const text = document.slice(at, begin < 0 ? undefined : begin);
    if (text !== '') current.text += decoded(text);
    if (begin < 0) break;
    const skipped = markupEnd(document, begin);
    if (skipped !== undefined) {
      if (document.startsWith('<![CDATA[', begin)) current.text += document.slice(begin + 9, skipped - 3);
      at = skipped;
      continue;
    }
    const near = document.indexOf('>', begin);
    const [tag, end] = tags.at(document, begin, near);
    at = end + 1;
    if (tag.kind === 'close') {
      const outer = above.pop();
      if (outer === undefined || current.name !== tag.name) throw new XmlError(`</${tag.name}> ends nothing`);
      outer.children.push(current);
      current = outer;
    } else if (tag.kind === 'empty') {
      current.children.push({ name: tag.name, children: [], text: '' });
    } else {
      if (above.length === DEEPEST) throw new XmlError(`more than ${DEEPEST} elements in each other`);
      above.push(current);
      current = { name: tag.name, children: [], text: '' };
    }
  }
  const [root, ...more] = current.children;
  if (above.length > 0) throw new XmlError(`<${current.name}> has no end`);
  if (root === undefined || more.length > 0 || current.text.trim() !== '') throw new XmlError('it is no document');
  return root;
};

/** Behind a declaration, a comment or text in CDATA that begins here; undefined: it is none of them. */
const markupEnd = (document: string, begin: number): number | undefined => {
  if (document[begin + 1] !== '?' && document[begin + 1] !== '!') return undefined;
  for (const [start, end] of [
    ['<?', '?>'],
    ['<!--', '-->'],
    ['<![CDATA[', ']]>'],
  ] as const) {
    if (!document.startsWith(start, begin)) continue;
    const found = document.indexOf(end, begin + start.length);
    if (found < 0) throw new XmlError(`${start} has no end`);
    return found + end.length;
  }
  throw new XmlError('declarations of types are not taken');
};

/** Where the tag ends; a `>` in the value of an attribute is not its end. */
const tagEnd = (document: string, begin: number): number => {
  const end = document.indexOf('>', begin);
  const quote = document.slice(begin, end < 0 ? undefined : end).search(/["']/);
  if (end >= 0 && quote < 0) return end;
  let quoted = '';
  for (let at = begin; at < document.length; at += 1) {
    const character = document.charAt(at);
    if (quoted !== '') quoted = character === quoted ? '' : quoted;
    else if (character === '"' || character === "'") quoted = character;
    else if (character === '>') return at;
  }
  throw new XmlError('a tag has no end');
};

/** The text of the first child of that name; '' when there is none. */
export const textOf = (element: XmlElement, name: string): string => childOf(element, name)?.text ?? '';

export const childOf = (element: XmlElement, name: string): XmlElement | undefined =>
  element.children.find((child) => child.name === name);

export const childrenOf = (element: XmlElement, name: string): XmlElement[] =>
  element.children.filter((child) => child.name === name);

const ESCAPES: Readonly<Record<string, string>> = {
  '<': '&lt;',
  '>': '&gt;',
  '&': '&amp;',
  '"': '&quot;',
  '\r': '&#13;',
};

/** Text for a document. */
export const escapeXml = (text: string): string => text.replace(/[<>&"\r]/g, (character) => ESCAPES[character] ?? '');

/** Can a document have this text in any form? */
export const fitsXml = (text: string): boolean =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML 1.0 cannot say.
  !/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(text);
