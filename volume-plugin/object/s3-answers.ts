import { bareEtag, describedBy } from './answers.ts';
import type { ObjectDetails } from './store.ts';
import { childOf, childrenOf, textOf, type XmlElement } from './xml.ts';

/** Reads what S3 answers. */

export { bareEtag, dateOf, documentOf, listingOf, uploadsOf } from './answers.ts';

/** What the head of an answer to GET and HEAD says of an object. */
export const detailsOf = (key: string, headers: ReadonlyMap<string, string>): ObjectDetails =>
  describedBy(key, headers, 'x-amz-meta-');

/** Keys that DeleteObjects has not removed, with code and message. */
export const leftOf = (
  document: XmlElement,
): readonly { readonly key: string; readonly code: string; readonly message: string }[] =>
  childrenOf(document, 'Error').map((error) => ({
    key: textOf(error, 'Key'),
    code: textOf(error, 'Code'),
    message: textOf(error, 'Message'),
  }));

/** Of CopyObject, UploadPartCopy and CompleteMultipartUpload: these tell errors with status 200, too. */
export const resultOf = (
  document: XmlElement,
): { readonly etag: string; readonly modified: number | undefined; readonly crc32: string | undefined } => {
  const modified = Date.parse(textOf(document, 'LastModified'));
  return {
    etag: bareEtag(textOf(document, 'ETag')),
    modified: Number.isNaN(modified) ? undefined : modified,
    crc32: childOf(document, 'ChecksumCRC32')?.text,
  };
};
