import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

interface DropAreaProps {
  /** Accessible name. */
  label: string;
  onDrop: (data: DataTransfer) => void;
  children: ComponentChildren;
}

/** A section that takes dropped files, and shows when some are held over it. */
export function DropArea({ label, onDrop, children }: DropAreaProps) {
  const [isOver, setOver] = useState(false);
  return (
    <section
      aria-label={label}
      class={isOver ? "drop over" : "drop"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        onDrop(event.dataTransfer!);
      }}
    >
      {children}
    </section>
  );
}
