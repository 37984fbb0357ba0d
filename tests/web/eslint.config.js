// ESLint for the page as fmnist-infer writes it, with its parameters; `make lint-js` writes it to ./page.
import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["page/vendor/**"] },
  js.configs.recommended,
  {
    files: ["page/*.js"],
    languageOptions: { globals: { ...globals.browser, ...globals.serviceworker } },
    rules: { eqeqeq: "error", "no-var": "error", "prefer-const": ["error", { destructuring: "all" }] },
  },
];
