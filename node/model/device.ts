// What runs the graphs: this machine's processor, or a GPU through one of ONNX Runtime's providers. Names only: the sessions
// are opened in engine/open-session.ts.

export const DEVICES = ['cpu', 'webgpu', 'cuda'] as const;

/** `webgpu`: any vendor's GPU (Vulkan, Metal, Direct3D 12), inside the npm package. `cuda`: NVIDIA's, libraries extra. */
export type Device = (typeof DEVICES)[number];

/** Where and how a session runs. */
export interface Placement {
  /** default: cpu */
  readonly device?: Device;
  /** of ONNX Runtime's pool, the caller's own included; on a GPU, for what it hands back to the CPU */
  readonly threads: number;
}
