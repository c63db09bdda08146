/** XML as object stores write and read it. */
import { Refusal } from './refusal.ts';

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
};

export const escapeText = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what has to be written as references
  text.replace(/[&<>"\r\0-\x08\x0b\x0c\x0e-\x1f]/g, (sign) => ESCAPES[sign] ?? `&#${sign.charCodeAt(0)};`);

export const element = (name: string, text: string | number | boolean | undefined): string =>
  text === undefined ? '' : `<${name}>${escapeText(String(text))}</${name}>`;

export const document = (name: string, content: string, namespace?: string): Buffer =>
  Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?>\n<${name}${namespace === undefined ? '' : ` xmlns="${namespace}"`}>${content}</${name}>`,
  );

/** An element that was sent. */
export interface Node {
  readonly name: string;
  readonly text: string;
  readonly children: readonly Node[];
}

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

const unescapeText = (text: string): string =>
  text.replace(/&(#x[0-9a-f]+|#\d+|\w+);/gi, (whole, name: string) => {
    if (name.startsWith('#x')) return String.fromCodePoint(Number.parseInt(name.slice(2), 16));
    if (name.startsWith('#')) return String.fromCodePoint(Number(name.slice(1)));
    return NAMED[name] ?? whole;
  });

const TOKEN =
  /<\?[^>]*\?>|<!--[\s\S]*?-->|<(\/?)([A-Za-z_][\w:.-]*)((?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>|([^<]+)/gy;

interface Open {
  readonly name: string;
  text: string;
  readonly children: Node[];
}

/** The root element. Refusal: MalformedXML. */
export function readXml(body: readonly Buffer[]): Node {
  const text = Buffer.concat(body).toString('utf8').trim();
  const malformed = new Refusal(
    400,
    'MalformedXML',
    'The XML you provided was not well-formed or did not validate against our published schema',
  );
  const open: Open[] = [{ name: '', text: '', children: [] }];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    at = match.index + match[0].length;
    const [, closing, name, , empty, words] = match;
    const top = open.at(-1);
    if (top === undefined) throw malformed;
    if (words !== undefined) top.text += unescapeText(words);
    else if (name === undefined) continue;
    else if (closing === '/') {
      if (top.name !== name) throw malformed;
      open.pop();
      open.at(-1)?.children.push(top);
    } else if (empty === '/') top.children.push({ name, text: '', children: [] });
    else open.push({ name, text: '', children: [] });
  }
  const [root, ...more] = open[0]?.children ?? [];
  if (at !== text.length || open.length !== 1 || root === undefined || more.length > 0) throw malformed;
  return root;
}

export const childrenOf = (node: Node, name: string): Node[] => node.children.filter((child) => child.name === name);

export const textOf = (node: Node, name: string): string | undefined =>
  node.children.find((child) => child.name === name)?.text;
