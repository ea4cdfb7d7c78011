// See axe.sh.
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');
const puppeteer = require('puppeteer-core');

const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync', '--no-first-run'];

(async () => {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'b2b-axe-'));
  const browser = await puppeteer.launch({ executablePath: '/usr/bin/chromium', userDataDir: profile, args: FLAGS });
  const page = await browser.newPage();
  await page.setBypassCSP(true);
  let findings = 0;
  for (const colours of ['light', 'dark']) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: colours }]);
    for (const width of [1400, 400]) {
      await page.setViewport({ width, height: 900 });
      for (const url of process.argv.slice(2)) {
        await page.goto('about:blank');
        await page.goto(url, { waitUntil: 'load' });
        await page.waitForSelector('h1, h2');
        // The server's page first requests data from the server.
        if (url.startsWith('http')) await new Promise((done) => { setTimeout(done, 1500); });
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        for (const { id, nodes } of violations) {
          findings += 1;
          const [node] = nodes;
          console.log(`${colours} ${width} ${url}: ${id}, ${nodes.length} times: ${node.target.join(' ')}: ${node.html.slice(0, 120)}: ${node.failureSummary.replace(/\s+/g, ' ')}`);
        }
      }
    }
  }
  await browser.close();
  fs.rmSync(profile, { recursive: true, force: true });
  console.log(`${process.argv.length - 2} pages, ${findings} findings`);
  process.exit(findings ? 1 : 0);
})();
