// Messages from the server as bytes. The page's library asks for each as a Blob and cuts that in two: three trips to the
// browser's own process and back, where slice() alone does.
{
  const kind = Object.getOwnPropertyDescriptor(WebSocket.prototype, "binaryType");
  Object.defineProperty(WebSocket.prototype, "binaryType", {
    ...kind,
    set() {
      kind.set.call(this, "arraybuffer");
    },
  });
  // A Blob's own name for what the library calls on both halves.
  ArrayBuffer.prototype.arrayBuffer = function () {
    return Promise.resolve(this);
  };
}
