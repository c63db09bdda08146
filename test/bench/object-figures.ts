/** What the figures of `bench:object` are held against: issue 6's targets, as ratios within one run. */

/** Figures of one mount by name. */
export type Row = Readonly<Record<string, number>>;

export const isMeasured = (value: number | undefined): value is number => value !== undefined && Number.isFinite(value);

const PEERS = ['s3fs', 'rclone', 'geesefs'];

/** At 15 ms ours is to be so many times as good as the best of the peers. */
const TARGETS = [
  { figure: 'read_mbps', better: 'more', times: 2 },
  { figure: 'write_mbps', better: 'more', times: 1.6 },
  { figure: 'ls_cold_s', better: 'less', times: 4 },
  { figure: 'create_s', better: 'less', times: 1.5 },
] as const;
const BARE = 0.9;
const RSS_MB = 256;

/** How ours compares, a sentence for each figure that was measured. */
export function judged(rows: Readonly<Record<string, Row>>): readonly string[] {
  const lines: string[] = [];
  for (const name of ['ours', 'ours_relaxed']) {
    const own = rows[name];
    if (own === undefined) continue;
    for (const { figure, better, times } of TARGETS) {
      const peers = PEERS.flatMap((peer) => rows[peer]?.[figure] ?? []).filter(isMeasured);
      const value = own[figure];
      if (!isMeasured(value) || peers.length === 0) continue;
      const ratio = better === 'more' ? value / Math.max(...peers) : Math.min(...peers) / value;
      lines.push(`${name}: ${figure} ${ratio.toFixed(2)} times as good as the best peer's (at 15 ms wanted: ${times})`);
    }
    const [read, bare, rss] = [own['read_mbps'], rows['bare']?.['read_mbps'], own['rss_mb']];
    if (isMeasured(read) && isMeasured(bare)) {
      lines.push(`${name}: reads ${(read / bare).toFixed(2)} of what a bare loop of GETs reaches (wanted: ${BARE})`);
    }
    if (isMeasured(rss)) lines.push(`${name}: ${rss.toFixed(0)} MB at most (wanted: up to ${RSS_MB})`);
  }
  return lines;
}
