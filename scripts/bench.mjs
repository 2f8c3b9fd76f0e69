// Makes a table and a plot of the figures that `fanfare bench --json` wrote, one load a line.
import { readFileSync, writeFileSync } from 'node:fs'

const folder = process.argv[2]
const loads = readFileSync(`${folder}/loads.jsonl`, 'utf8').trim().split('\n').map(line => JSON.parse(line))
const name = load => `${load.dialect}, ${load.rate}/s${load.burst > 1 ? ` in bursts of ${load.burst}` : ''}`
const cells = load => [
  name(load), load.delivered, Math.round(load.delivered / load.seconds), load.lost, load.disordered,
  load.p50_ms.toFixed(2), load.p99_ms.toFixed(2), load.max_ms.toFixed(2),
]
const head = ['load', 'deliveries', 'a second', 'lost', 'disordered', 'p50 ms', 'p99 ms', 'max ms']
const rows = [head, head.map(() => '---'), ...loads.map(cells)]
const title = `${loads[0].connections} subscribers, ${loads[0].size} bytes, client and server on one machine`
writeFileSync(`${folder}/table.md`, `${title}\n\n${rows.map(row => `| ${row.join(' | ')} |`).join('\n')}\n`)

// Latency on a logarithmic axis from 0.1 ms to 10 s: a bar to the median, a line to the 99th percentile.
const [left, width, step] = [260, 480, 34]
const x = ms => left + (width * (Math.log10(Math.max(ms, 0.1)) + 1)) / 5
const ticks = [0.1, 1, 10, 100, 1000, 10000]
const height = 60 + step * loads.length
const grid = ticks.map(ms => `<line x1="${x(ms)}" x2="${x(ms)}" y1="40" y2="${height - 14}" stroke="#ccc"/><text x="${x(ms)}" y="${height}" text-anchor="middle">${ms} ms</text>`)
const bars = loads.map((load, at) => {
  const y = 48 + at * step
  return `<text x="${left - 10}" y="${y + 14}" text-anchor="end">${name(load)}</text>
<rect x="${left}" y="${y}" width="${x(load.p50_ms) - left}" height="18" fill="#e3a32b"/>
<line x1="${x(load.p50_ms)}" x2="${x(load.p99_ms)}" y1="${y + 9}" y2="${y + 9}" stroke="#1d1c1a" stroke-width="2"/>
<text x="${x(load.p99_ms) + 6}" y="${y + 14}">${load.p50_ms.toFixed(1)} / ${load.p99_ms.toFixed(1)}</text>`
})
writeFileSync(`${folder}/latency.svg`, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 ${height + 10}" font-family="system-ui, sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#fff"/><text x="20" y="24" font-size="15">Latency, median / 99th percentile: ${title}</text>
${grid.join('\n')}
${bars.join('\n')}
</svg>
`)
