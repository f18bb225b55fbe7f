// A chat request for k6:
//
//   k6 run --vus 64 --iterations 128 --env URL=http://127.0.0.1:9000 examples/load/k6.js
//
// k6 reads an answer whole: `http_req_waiting` ends with the first bytes of the answer's head, and
// `http_req_duration` with its last. What came in time, the proxy knows.

import { check } from "k6";
import http from "k6/http";

const URL = __ENV.URL || "http://127.0.0.1:9000";
const BODY = open(__ENV.BODY || "./chat.json"); // beside this file
const PARAMS = { headers: { "Content-Type": "application/json" }, timeout: "60s" };

export default function () {
  const answer = http.post(`${URL}/v1/chat/completions`, BODY, PARAMS);
  check(answer, { "is 200": (given) => given.status === 200 });
}
