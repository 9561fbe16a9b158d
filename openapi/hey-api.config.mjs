export default {
  input: "../var/openapi/openapi.json",
  output: "../var/openapi/hey-api",
  plugins: ["@hey-api/client-fetch", "@hey-api/sdk", "@hey-api/typescript"],
};
