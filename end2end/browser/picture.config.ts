// Makes the README's picture (scripts/screenshot.sh); not a test, so the tests' own config does not see it.

import base from './playwright.config.ts';

export default { ...base, testMatch: 'picture.ts', projects: [{ name: 'picture' }] };
