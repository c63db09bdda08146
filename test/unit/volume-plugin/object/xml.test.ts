import t from 'tap';
import { childrenOf, escapeXml, fitsXml, parseXml, textOf, XmlError } from '../../../../volume-plugin/object/xml.ts';

t.test('elements, text and everything that text may be written as', async (t) => {
  const root = parseXml(`<?xml version="1.0" encoding="UTF-8"?>
    <!-- <not>this</not> -->
    <s3:List xmlns:s3="http://s3.amazonaws.com/doc/2006-03-01/" a='1 > 0'>
      <Key> a&amp;b &lt;&gt;&quot;&apos; &#228;&#xE4;&#x1F642; </Key><Empty/><Empty a="/>"/>
      <Key><![CDATA[<raw> & ]] ]]></Key><Key></Key >
      <Owner><ID>x</ID></Owner>
    </s3:List>
  `);
  t.equal(root.name, 'List');
  t.same(
    childrenOf(root, 'Key').map(({ text }) => text),
    [` a&b <>"' ää🙂 `, '<raw> & ]] ', ''],
  );
  t.equal(textOf(root, 'Empty'), '');
  t.equal(textOf(root, 'None'), '');
  t.equal(root.children.find(({ name }) => name === 'Owner')?.children[0]?.text, 'x');
});

t.test('what is no XML, or wants more of us than stores do, is refused', async (t) => {
  const bad = [
    ...['', 'text', '<a>', '<a></b>', '</a>', '<a/><b/>', '<a/>text', '<a', '<a b="></a>', '< a/>', '<a><b></a></b>'],
    ...['<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', '<a>&x;</a>', '<a>&#x110000;</a>', '<a>&</a>', '<a><!-- </a>'],
    '<a>'.repeat(100) + '</a>'.repeat(100),
  ];
  for (const document of bad) t.throws(() => parseXml(document), XmlError, document.slice(0, 40));
});

t.test('what is written is read as it was', async (t) => {
  const keys = ['a<b>&"c"', "it's", 'line\r\nend', ' spaces ', 'ä🙂', ']]>', '&amp;'];
  const document = `<D>${keys.map((key) => `<K>${escapeXml(key)}</K>`).join('')}</D>`;
  t.same(
    childrenOf(parseXml(document), 'K').map(({ text }) => text),
    keys,
  );
  t.same([fitsXml('a\tb\n\r ä🙂'), fitsXml('a\0'), fitsXml('\u001f'), fitsXml('\uffff')], [true, false, false, false]);
});
