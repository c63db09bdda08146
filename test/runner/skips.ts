/**
 * Reasons for which a test may be skipped in CI: things that a machine cannot be given, and what a store or a server of others
 * does not offer, of which its list of gaps tells. Anything else (a missing
 * package, a forgotten file, a test that somebody switched off) is a failure there.
 */
const machineLacks: readonly RegExp[] = [
  /^the kernel has no (SCTP|ipvlan|vrf|netkit|WireGuard|NFS client|nbd|tcx|IPVS|flow tables?|dummy links?|legacy iptables)\b/i,
  /^Docker \d+\.\d+ cannot /,
  /^this server (has no|does not|mixes|leaves|has an order)\b/,
];

/** True when a machine may lack what the test needs, so that the skip is no fault of the code or of the set-up. */
export function skipIsExcused(reason: string): boolean {
  return machineLacks.some((pattern) => pattern.test(reason));
}
