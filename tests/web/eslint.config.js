// ESLint for the page as fmnist-infer writes it, with its parameters; `make lint-js` writes it to ./page.

import js from "@eslint/js";
import globals from "globals";

const rules = { eqeqeq: "error", "no-var": "error", "prefer-const": ["error", { destructuring: "all" }] };

export default [
  js.configs.recommended,
  {
    files: ["page/*.js"],
    languageOptions: { globals: { ...globals.browser, ...globals.serviceworker } },
    rules,
  },
  { files: ["*.mjs"], languageOptions: { globals: globals.node }, rules },
];
