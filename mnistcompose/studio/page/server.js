// Requests to the studio's server.

const token = new URLSearchParams(location.search).get("token") ?? "";

export async function call(path, body) {
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  const headers = { "X-Studio-Token": token, "Content-Type": "application/json" };
  return fetch(path, { ...options, headers });
}

// Make a function that runs a task; if it is called during a run, one more run follows, however often it is called.
export function oneAtATime(task, failed) {
  let running = false;
  let outdated = false; // what is on its way is no longer what is wanted
  return async () => {
    outdated = true;
    if (running) return;
    running = true;
    try {
      while (outdated) {
        outdated = false;
        await task();
      }
    } catch {
      failed();
    } finally {
      running = false;
    }
  };
}
