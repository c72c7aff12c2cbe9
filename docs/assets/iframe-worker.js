// Browsers refuse to start a worker for a page that is opened as a file. The search of the site needs
// one, so for such pages this runs the worker's script in a hidden frame, with the same two calls:
// postMessage and the event "message". The theme would load a script for this from another machine.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      const inside = frame.contentWindow
      const script = inside.document.createElement("script")
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      this.ready = new Promise(resolve => script.addEventListener("load", resolve))
      this.send = data => inside.dispatchEvent(new MessageEvent("message", { data }))
      script.src = url
      inside.document.body.appendChild(script)
    }

    postMessage(data) {
      this.ready.then(() => this.send(data))
    }
  }
  window.Worker = window.IFrameWorker
}
