// Takes the page's figures (scripts/figures.sh); not a test, so the tests' own config does not see it.

import base from './playwright.config.ts';

export default { ...base, testMatch: 'figures.ts', projects: [{ name: 'figures' }] };
