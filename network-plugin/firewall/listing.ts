import { ELEMENT_SETS, type Element, type ElementSet, placeOf } from './element.ts';

/** A listing of the table, taken apart for comparing. */
export interface Listing {
  /** Everything but the elements of the element sets, one line a rule, blocks and elements sorted. */
  readonly rules: string;
  /** The elements of those, by place. */
  readonly elements: ReadonlyMap<string, Element>;
}

const isElementSet = (name: string): name is ElementSet => Object.hasOwn(ELEMENT_SETS, name);

const BLOCK = /^\t(set|map|chain) (\S+) \{\n(.*?)^\t\}$/gms;
const ELEMENTS = /elements = \{([^}]*)\}/;

const parseElements = (body: string): string[] =>
  (ELEMENTS.exec(body)?.[1] ?? '')
    .split(',')
    .map((text) => text.trim().replace(/\s+/g, ' '))
    .filter((text) => text !== '');

/** A listing of nft, or a table as `renderTable` makes it: both give the same when they mean the same. */
export const parseListing = (text: string): Listing => {
  const elements = new Map<string, Element>();
  const blocks: string[] = [];
  for (const [, kind = '', name = '', body = ''] of text.matchAll(BLOCK)) {
    const lines = body.replace(ELEMENTS, '').split('\n');
    const rules = lines.map((line) => line.trim()).filter((line) => line !== '');
    const members = kind === 'chain' ? [] : parseElements(body).sort();
    if (isElementSet(name)) {
      for (const member of members) {
        const [key = '', value] = member.split(' : ');
        const element: Element = { set: name, key, ...(value === undefined ? {} : { value }) };
        elements.set(placeOf(element), element);
      }
      members.length = 0;
    }
    blocks.push([`${kind} ${name}`, ...rules, ...members].join('\n\t'));
  }
  return { rules: blocks.sort().join('\n'), elements };
};
