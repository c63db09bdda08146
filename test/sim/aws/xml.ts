/** The XML of EC2's answers: objects become elements, lists become `<item>`s. */

export type Xml = string | number | boolean | undefined | readonly Xml[] | { readonly [name: string]: Xml };

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

export const escapeXml = (text: string): string => text.replace(/[&<>"]/g, (sign) => escapes[sign] ?? sign);

/** Content of an element. What is undefined is left out. */
export function toXml(value: Xml): string {
  if (value === undefined) return '';
  if (typeof value !== 'object') return escapeXml(String(value));
  if (Array.isArray(value)) return (value as readonly Xml[]).map((item) => element('item', item)).join('');
  return Object.entries(value)
    .map(([name, content]) => (content === undefined ? '' : element(name, content)))
    .join('');
}

const element = (name: string, content: Xml): string => {
  const inner = toXml(content);
  return inner === '' ? `<${name}/>` : `<${name}>${inner}</${name}>`;
};
